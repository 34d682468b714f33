import { EngineError } from "../model/errors.ts";

/** What a host said about one destination. */
export interface ProbeAnswer {
  /** How the destination answered; `none`: it did not. */
  readonly way: "ping" | "tcp" | "refused" | "none";
  /** Why it counts as silent. */
  readonly why: "silent" | "timeout" | "noroute" | "error" | "notool" | undefined;
  /** Whether a full jumbo frame came through; undefined when it was not tried. */
  readonly jumbo: boolean | undefined;
  /** The route that the kernel takes, whoever asks. */
  readonly route: { readonly device: string; readonly gateway: boolean } | undefined;
  /** Who answered, as the neighbour table has it. */
  readonly mac: string | undefined;
}

const MAX_LINES = 16_384;
const answerLine = /^(\d{1,6}) (ping|tcp|refused|none) (silent|timeout|noroute|error|notool|-) (yes|no|-)$/;
/** `10.0.0.2 dev eth1 src 10.0.0.1 uid 0 \    cache`, with `via 10.0.0.254` before `dev` when it is routed. */
const routeLine = /^([0-9a-f.:]{2,45}) (.{0,200}\b)?dev (\S{1,15})(\s|$)/;
const neighbourLine = /^([0-9a-f.:]{2,45}) dev (\S{1,15}) (?:.{0,80}\b)?lladdr ([0-9a-f]{2}(?::[0-9a-f]{2}){5,19})(\s|$)/i;

/** One answer per destination, in their order. Throws `hypervisor` when the script cannot have printed this. */
export function parseProbeOutput(text: string, destinations: readonly string[]): ProbeAnswer[] {
  const lines = text.split("\n", MAX_LINES + 1);
  if (lines.length > MAX_LINES) throw nonsense(`more than ${MAX_LINES} lines`);
  const [routesAt, answersAt, neighboursAt, endAt] = ["@@ routes", "@@ answers", "@@ neighbours", "@@ end"].map((line) =>
    lines.indexOf(line),
  );
  if (routesAt !== 0 || !answersAt || !neighboursAt || !endAt || answersAt < 0 || neighboursAt < answersAt || endAt < neighboursAt) {
    throw nonsense("it is not complete");
  }
  const routes = parseRoutes(lines.slice(1, answersAt));
  const macs = parseNeighbours(lines.slice(neighboursAt + 1, endAt));
  const answers = parseAnswers(lines.slice(answersAt + 1, neighboursAt), destinations.length);
  return destinations.map((address, index) => {
    const answer = answers.get(index);
    if (!answer) throw nonsense(`no answer for ${address}`);
    const route = routes.get(address);
    return { ...answer, route, mac: route && macs.get(`${address} ${route.device}`) };
  });
}

function parseRoutes(lines: readonly string[]): Map<string, ProbeAnswer["route"]> {
  const routes = new Map<string, ProbeAnswer["route"]>();
  for (const line of lines) {
    const match = routeLine.exec(line);
    if (match?.[1] && match[3]) routes.set(match[1], { device: match[3], gateway: /(^| )via /.test(match[2] ?? "") });
  }
  return routes;
}

function parseNeighbours(lines: readonly string[]): Map<string, string> {
  const macs = new Map<string, string>();
  for (const line of lines) {
    const match = neighbourLine.exec(line);
    if (match?.[1] && match[2] && match[3]) macs.set(`${match[1]} ${match[2]}`, match[3].toLowerCase());
  }
  return macs;
}

function parseAnswers(lines: readonly string[], count: number): Map<number, Pick<ProbeAnswer, "way" | "why" | "jumbo">> {
  const answers = new Map<number, Pick<ProbeAnswer, "way" | "why" | "jumbo">>();
  for (const line of lines) {
    const match = answerLine.exec(line);
    const index = Number(match?.[1]);
    if (!match || index >= count || answers.has(index)) throw nonsense("an unexpected answer");
    answers.set(index, {
      way: match[2] as ProbeAnswer["way"],
      why: match[3] === "-" ? undefined : (match[3] as ProbeAnswer["why"]),
      jumbo: match[4] === "-" ? undefined : match[4] === "yes",
    });
  }
  return answers;
}

function nonsense(why: string): EngineError {
  return new EngineError("hypervisor", `the host's probe results are unreadable: ${why}`);
}

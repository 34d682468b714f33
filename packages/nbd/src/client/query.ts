import { decodeMessage, FieldReader } from "../protocol/bytes.ts";
import { OPTION, REPLY } from "../protocol/constants.ts";
import { malformed } from "../error.ts";
import type { NbdTlsOptions } from "../tls.ts";
import { type NbdTarget, parseNbdUri } from "../uri.ts";
import { type ConnectionOptions, withWire } from "./connection.ts";
import { describe, encodeContextQuery, greet, type NbdExportInfo, parseContext } from "./handshake.ts";
import type { Negotiation } from "./negotiation.ts";

export interface NbdQueryOptions {
  readonly signal?: AbortSignal | undefined;
  readonly tls?: NbdTlsOptions | undefined;
}

export interface NbdListed {
  readonly name: string;
  /** For humans; often empty. */
  readonly description: string;
}

/** The exports that a server is willing to name. The target's export name is of no meaning here. */
export function listNbdExports(target: NbdTarget | string, options: NbdQueryOptions = {}): Promise<readonly NbdListed[]> {
  return ask(target, options, async (negotiation) => {
    const result = await negotiation.option(OPTION.list);
    if (!result.ok) throw negotiation.refusal(result, "cannot list the exports");
    return result.replies.map(({ type, data }) => {
      if (type !== REPLY.server) throw malformed(`LIST was answered with a reply of type ${type}`);
      const reader = new FieldReader(data, "an export's name");
      const name = reader.name(reader.u32());
      return { name, description: decodeMessage(reader.rest()) };
    });
  });
}

/** What the server tells about an export without opening it. */
export function nbdExportInfo(
  target: NbdTarget | string,
  options: NbdQueryOptions = {},
): Promise<Omit<NbdExportInfo, "contexts" | "replies">> {
  return ask(target, options, async (negotiation, { exportName }, tls) => {
    const facts = await negotiation.exportInfo(OPTION.info, exportName);
    if ("ok" in facts) throw negotiation.refusal(facts, `cannot get information on the export ${JSON.stringify(exportName)}`);
    return describe(exportName, facts, { replies: "simple", tls, contexts: new Map() });
  });
}

/** The metadata contexts of an export that match `queries` (`base:`, `qemu:dirty-bitmap:` …); all without. */
export function listNbdContexts(
  target: NbdTarget | string,
  queries: readonly string[] = [],
  options: NbdQueryOptions = {},
): Promise<readonly string[]> {
  return ask(target, options, async (negotiation, { exportName }) => {
    if (!(await negotiation.option(OPTION.structuredReply)).ok) return [];
    const result = await negotiation.option(OPTION.listMetaContext, encodeContextQuery(exportName, queries));
    if (!result.ok) throw negotiation.refusal(result, "cannot list the metadata contexts");
    return result.replies.map((reply) => parseContext(reply).name);
  });
}

async function ask<T>(
  target: NbdTarget | string,
  options: NbdQueryOptions,
  question: (negotiation: Negotiation, target: NbdTarget, tls: boolean) => Promise<T>,
): Promise<T> {
  const parsed = typeof target === "string" ? parseNbdUri(target) : target;
  const connection: ConnectionOptions = { target: parsed, tls: options.tls, signal: options.signal, replies: "simple", contexts: [] };
  return await withWire(connection, async (wire, credentials) => {
    const { negotiation, tls } = await greet(wire, { target: parsed, tls: credentials });
    const answer = await question(negotiation, parsed, tls);
    negotiation.abort();
    return answer;
  });
}

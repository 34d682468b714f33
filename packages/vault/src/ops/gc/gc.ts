import type { CondemnedPack } from "../../format/gc.ts";
import type { VaultParts } from "../../parts.ts";
import { WriteSession } from "../session.ts";
import { choosePacks, type Choice, type ChoiceOptions, deadOrphans, writeMark } from "./condemn.ts";
import { confirmDead } from "./confirm.ts";
import { decide, type Verdict } from "./doom.ts";
import { rewritePacks } from "./rewrite.ts";
import { replaceable, replaceSegments } from "./segments.ts";
import { giveUpStale } from "./stale.ts";
import { activeSessions, survey, type Survey, type SurveyProgress } from "./survey.ts";
import { removeVoidVerdicts, sweep } from "./sweep.ts";

export interface GcOptions {
  readonly signal: AbortSignal;
  /** Say what would be freed, and write nothing. */
  readonly dryRun?: boolean;
  /** How many packs a run condemns at most; 65,536 (1 TiB) unless said otherwise. */
  readonly maxPacks?: number;
  /** How much of packs, as stored, is rewritten at most because too much of them is dead; 4 GiB unless said otherwise. */
  readonly maxRewriteBytes?: number;
  /** A pack is rewritten when more than this share of it is dead; 0.5 unless said otherwise. */
  readonly maxDeadShare?: number;
  /** For the names of one pass over the trees, about 6 bytes a chunk; 256 MiB unless said otherwise. */
  readonly memoryBytes?: number;
  /** How long captures that are under way are waited for, ms; what they hold up is left for the next run. 0 unless said otherwise. */
  readonly waitMs?: number;
  /** A capture that has written nothing for so long, by the storage's clock, is taken for dead; 3 days unless said otherwise. */
  readonly staleAfterMs?: number;
  readonly onProgress?: (progress: GcProgress) => void;
}

export type GcProgress =
  | ({ readonly step: "survey" } & SurveyProgress)
  | { readonly step: "rewrite"; readonly packs: number; readonly bytes: number }
  | { readonly step: "sweep"; readonly packs: number }
  | { readonly step: "wait"; readonly sessions: number };

export interface GcResult {
  readonly points: number;
  /** What the survey found: packs, their chunks and nodes, and how many of those are needed. */
  readonly packs: number;
  readonly items: number;
  readonly liveItems: number;
  /** Packs of which nothing is needed, and their bytes as stored. */
  readonly deadPacks: number;
  readonly deadBytes: number;
  /** Packs that were rewritten (with `dryRun`: would be) as too much of them is dead. */
  readonly rewrittenPacks: number;
  /** Unpacked. */
  readonly copiedBytes: number;
  /** Packs that are worth rewriting, but for the bound. */
  readonly postponedPacks: number;
  readonly deletedPacks: number;
  /** As stored. */
  readonly freedBytes: number;
  readonly segmentsReplaced: number;
  /** Sessions of dead machines that were given up. */
  readonly givenUp: readonly string[];
  /** Marks that are not swept yet, and why: sessions under way, packs under the storage's lock, points that cannot be read. */
  readonly pending: readonly { readonly mark: string; readonly why: string }[];
}

export const gcDefaults = {
  maxPacks: 65_536,
  maxRewriteBytes: 4 * 2 ** 30,
  maxDeadShare: 0.5,
  memoryBytes: 256 << 20,
  waitMs: 0,
  staleAfterMs: 3 * 24 * 3600 * 1000,
};

const pollMs = 2000;
/** More small segments than this are merged. */
const fewSegments = 16;

/**
 * Frees what no recovery point needs, beside captures and other gcs on any machine: docs/formats/vault.md,
 * section 13. What it condemns is deleted in the same run when no capture is under way, and in a later one
 * otherwise. May die at any moment and be run again. Throws `corrupt` when what a point needs cannot be
 * known, `locked` when a newer epoch's key is needed.
 */
export async function gc(parts: VaultParts, options: GcOptions): Promise<GcResult> {
  return await new Collection(parts, options).run();
}

/** As {@link gc}, with packs that are to go although they are needed: `unwanted`. */
export async function gcUnwanted(
  parts: VaultParts,
  options: GcOptions,
  unwanted: NonNullable<ChoiceOptions["unwanted"]>,
): Promise<GcResult> {
  return await new Collection(parts, options, unwanted).run();
}

interface Condemned {
  readonly survey: Survey;
  readonly choice: Choice;
  readonly orphans: readonly CondemnedPack[];
  readonly rewritten: number;
  readonly copiedBytes: number;
}

interface OwnMark {
  readonly id: string;
  readonly packs: ReadonlySet<string>;
}

type Pending = GcResult["pending"][number];

class Collection {
  readonly #parts: VaultParts;
  readonly #options: GcOptions & typeof gcDefaults;
  readonly #unwanted: ChoiceOptions["unwanted"];
  readonly #givenUp: string[] = [];
  #deletedPacks = 0;
  #freedBytes = 0;
  #segmentsReplaced = 0;

  constructor(parts: VaultParts, options: GcOptions, unwanted?: ChoiceOptions["unwanted"]) {
    this.#parts = parts;
    this.#options = { ...gcDefaults, ...options };
    this.#unwanted = unwanted;
  }

  async run(): Promise<GcResult> {
    const { dryRun = false, signal } = this.#options;
    if (dryRun) {
      await this.#parts.index.refresh(signal);
      return this.#resultOf(await this.#look(await this.#survey()), []);
    }
    await removeVoidVerdicts(this.#parts, signal);
    // What others doomed, or would have, is deleted only if a survey that began afterwards agrees.
    const old = await this.#decide(undefined);
    const found = await this.#survey();
    const confirmed = await confirmDead(this.#parts, found, new Set([...old.decided.values()].flat()), signal);
    const pending = [...old.pending, ...(await this.#sweep(old.decided, confirmed))];
    const { mark, ...condemned } = await this.#condemn(found);
    if (mark !== undefined) pending.push(...(await this.#settle(mark)));
    await this.#mergeSegments();
    return this.#resultOf(condemned, pending);
  }

  async #look(found: Survey): Promise<Condemned> {
    const choice = await this.#choose(found);
    const orphans = await deadOrphans(this.#parts, found.orphans, this.#options.signal);
    return { survey: found, choice, orphans, rewritten: choice.half.length, copiedBytes: 0 };
  }

  async #survey(): Promise<Survey> {
    const { signal, memoryBytes, onProgress } = this.#options;
    const report = onProgress && ((progress: SurveyProgress): void => onProgress({ step: "survey", ...progress }));
    return await survey(this.#parts, { signal, memoryBytes, ...(report ? { onProgress: report } : {}) });
  }

  async #choose(found: Survey): Promise<Choice> {
    const { maxPacks, maxRewriteBytes, maxDeadShare, signal } = this.#options;
    const standing = this.#parts.index.condemned.marks.reduce((sum, { content }) => sum + (content?.packs.length ?? 0), 0);
    const unwanted = this.#unwanted ? { unwanted: this.#unwanted } : {};
    const options = { maxPacks: Math.max(0, maxPacks - standing), maxRewriteBytes, maxDeadShare, ...unwanted };
    return await choosePacks(this.#parts, found, options, signal);
  }

  /** Rewrites and condemns in one session, so that nobody takes the new packs for dead meanwhile. */
  async #condemn(found: Survey): Promise<Condemned & { readonly mark: OwnMark | undefined }> {
    const { signal, onProgress } = this.#options;
    const parts = this.#parts;
    const session = new WriteSession(parts, signal);
    await session.start("");
    try {
      const choice = await this.#choose(found);
      onProgress?.({ step: "rewrite", packs: choice.half.length, bytes: choice.half.reduce((sum, { size }) => sum + size, 0) });
      const { packs, copiedBytes } = await rewritePacks(parts, session, choice.half, signal);
      const orphans = await deadOrphans(parts, found.orphans, signal);
      const all = [...choice.dead.map(({ name }) => ({ pack: name, to: [] })), ...orphans, ...packs];
      const points = found.points.map(({ id }) => id);
      const id = all.length === 0 ? undefined : await writeMark(parts, all, points, signal);
      const mark = id === undefined ? undefined : { id, packs: new Set(all.map(({ pack }) => pack)) };
      return { survey: found, choice, orphans, rewritten: packs.length, copiedBytes, mark };
    } finally {
      await session.settle();
      await session.end();
    }
  }

  /** Decides about this run's own mark and sweeps it, or leaves it after `waitMs` for the next run. */
  async #settle(mark: OwnMark): Promise<Pending[]> {
    const { signal, onProgress, waitMs } = this.#options;
    const { clock } = this.#parts;
    const deadline = clock.monotonic() + waitMs;
    for (;;) {
      const { decided, pending, waiting } = await this.#decide(mark.id);
      if (decided.size > 0) return await this.#sweep(decided, mark.packs);
      if (waiting === 0 || clock.monotonic() >= deadline) return pending;
      onProgress?.({ step: "wait", sessions: waiting });
      await clock.sleep(Math.min(pollMs, waitMs), { signal });
    }
  }

  /** What is decided about standing marks, or about one of them. */
  async #decide(only: string | undefined): Promise<{ decided: Map<string, readonly string[]>; pending: Pending[]; waiting: number }> {
    const { signal, staleAfterMs } = this.#options;
    const { index } = this.#parts;
    this.#givenUp.push(...(await giveUpStale(this.#parts, staleAfterMs, signal)));
    await index.refresh(signal);
    const decided = new Map<string, readonly string[]>();
    const pending: Pending[] = [];
    let waiting = 0;
    for (const mark of index.condemned.marks) {
      if (only !== undefined && mark.id !== only) continue;
      const verdict = await decide(this.#parts, mark, signal);
      if (verdict.kind === "doomed") decided.set(mark.id, verdict.packs);
      else if (verdict.kind !== "gone") pending.push({ mark: mark.id, why: whyPending(verdict) });
      if (verdict.kind === "waiting") waiting += verdict.sessions.length;
    }
    return { decided, pending, waiting };
  }

  async #sweep(decided: ReadonlyMap<string, readonly string[]>, confirmed: ReadonlySet<string>): Promise<Pending[]> {
    if (decided.size === 0) return [];
    const { signal, onProgress } = this.#options;
    onProgress?.({ step: "sweep", packs: [...decided.values()].reduce((sum, packs) => sum + packs.length, 0) });
    const swept = await sweep(this.#parts, decided, confirmed, signal);
    this.#deletedPacks += swept.deletedPacks;
    this.#freedBytes += swept.freedBytes;
    this.#segmentsReplaced += swept.segmentsReplaced;
    return [...decided].flatMap(([mark, packs]) => {
      const kept = packs.filter((pack) => swept.retained.includes(pack));
      const needed = packs.filter((pack) => !confirmed.has(pack));
      return [
        ...(kept.length > 0 ? [{ mark, why: `the storage's own lock keeps ${kept.length} of its packs` }] : []),
        ...(needed.length > 0
          ? [{ mark, why: `${needed.length} of its packs are needed: it was made by a broken or hostile machine` }]
          : []),
      ];
    });
  }

  /** Merges small segments, which every put leaves one of. */
  async #mergeSegments(): Promise<void> {
    const { signal } = this.#options;
    const parts = this.#parts;
    const entries = parts.tuning.batchEntries;
    await parts.index.refresh(signal);
    if (parts.index.segments.filter(({ head }) => head.entries < entries / 2).length <= fewSegments) return;
    const session = new WriteSession(parts, signal);
    await session.start("");
    try {
      const active = await activeSessions(parts, signal);
      const small = replaceable(parts, active, (pack) => parts.index.condemned.has(pack)).filter(({ head }) => head.entries < entries / 2);
      this.#segmentsReplaced += await replaceSegments(parts, small, { signal, session, dropped: new Set(), entries });
    } finally {
      await session.end();
    }
  }

  #resultOf({ survey, choice, orphans, rewritten, copiedBytes }: Condemned, pending: GcResult["pending"]): GcResult {
    const sum = (counts: Uint32Array): number => counts.reduce((total, count) => total + count, 0);
    const orphanBytes = survey.orphans
      .filter(({ name }) => orphans.some(({ pack }) => pack === name))
      .reduce((bytes, { size }) => bytes + size, 0);
    return {
      points: survey.points.length,
      packs: survey.segments.reduce((total, { segment }) => total + segment.head.packs.length, 0) + survey.orphans.length,
      items: survey.segments.reduce((total, { items }) => total + sum(items), 0),
      liveItems: survey.segments.reduce((total, { live }) => total + sum(live), 0),
      deadPacks: choice.dead.length + orphans.length,
      deadBytes: choice.dead.reduce((bytes, { size }) => bytes + size, 0) + orphanBytes,
      rewrittenPacks: rewritten,
      copiedBytes,
      postponedPacks: choice.postponed,
      deletedPacks: this.#deletedPacks,
      freedBytes: this.#freedBytes,
      segmentsReplaced: this.#segmentsReplaced,
      givenUp: this.#givenUp,
      pending,
    };
  }
}

function whyPending(verdict: Extract<Verdict, { kind: "waiting" | "unknown" }>): string {
  if (verdict.kind === "unknown") return verdict.why;
  return `${verdict.sessions.length} captures or other runs that began before it are under way: ${verdict.sessions.join(", ")}`;
}

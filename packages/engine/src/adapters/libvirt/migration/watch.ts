import { DomainJobType } from "@godwit/libvirt";
import { type ContractAct, ContractWatch } from "../../../migration/contract.ts";
import type { MoveProgress } from "../../../ports/migration.ts";
import { unlessRefused } from "./access.ts";
import { breakOff } from "./break-off.ts";
import type { Move } from "./move.ts";
import { moveProgress } from "./stats.ts";

/** How often the source is asked how far it is, milliseconds. */
const pollMs = 250;
/** The same while the guest may be slowed: only who looks in time ends it before the next step. */
const throttledPollMs = 100;
/** A stream that does not move for this long is given up: TCP alone would wait for a quarter of an hour. */
const stallMs = 10_000;
/** What was given up and has not ended within this time waits for somebody who does not answer, milliseconds. */
const lettingGoMs = 5000;
const restoreMs = 2000;

/** What a guest may be paused for while it is another one's turn: no limit would end the sending at once. */
const heldPauseMs = 1;
/** When what is left takes so long, it is time to ask for the turn. */
const askedAheadMs = 1000;

/** Asks the source how far it is while it performs, hands the figures on, and gives the move up when asked to. */
export class Watch {
  readonly #move: Move;
  readonly #ended = new AbortController();
  #polling: Promise<void> | undefined;
  readonly #contract: ContractWatch;
  /** Why it is given up, once it is. */
  #givenUp: string | undefined;
  #lettingGo = false;
  /** A part of its memory is only there: without the connection the guest would be lost. */
  #postCopy = false;
  #limitBefore: bigint | undefined;
  /** It may hardly be paused, as it is another guest's turn. */
  #heldBack = false;
  #askedForTurn = false;
  #moved = { bytes: -1, at: 0 };
  last: MoveProgress | undefined;
  /** The most that was ever seen: the figures of disks are gone once the memory phase begins. */
  diskBytes = 0;
  /** As it was last measured. */
  dirtyBytesPerSecond: number | undefined;
  /** The most that the guest was slowed by. */
  throttlePercent: number | undefined;
  /** What had to be done for the pause's sake, if anything. */
  atLast: string | undefined;

  constructor(move: Move) {
    this.#move = move;
    this.#contract = new ContractWatch(move.request.contract, move.request.switchoverMs);
  }

  /** The pause that the hypervisor was last allowed to aim at, milliseconds. */
  get pauseLimitMs(): number | undefined {
    return this.#contract.limitMs;
  }

  /** Whether a byte of the guest was on its way. */
  get sawData(): boolean {
    return this.last !== undefined && this.last.memoryProcessedBytes + this.last.diskProcessedBytes > 0;
  }

  /** Before anything is sent: QEMU's own limit would be what a guest that is sent within no time is paused for. */
  async begin(): Promise<void> {
    const { source, dom, hooks } = this.#move;
    this.#limitBefore = await unlessRefused(source.remote.domainMigrateGetMaxDowntime({ dom, flags: 0 }));
    this.#heldBack = hooks.turn?.before === "switchover" && !hooks.turn.alone;
    if (this.#heldBack) await this.#allow(heldPauseMs);
    else await this.#keep(this.#contract.begin());
  }

  /** The guest stays, and its process keeps a limit that was set before it was sent: the next one who moves it may not know. */
  async restore(): Promise<void> {
    const { source, dom } = this.#move;
    if (this.#limitBefore === undefined) return;
    const setting = source.remote.domainMigrateSetMaxDowntime(
      { dom, downtime: this.#limitBefore, flags: 0 },
      { signal: AbortSignal.timeout(restoreMs) },
    );
    await setting.catch(() => undefined); // it is gone, or out of reach
  }

  async during<T>(performing: Promise<T>): Promise<T> {
    this.#polling = this.#poll();
    const { signal } = this.#move;
    const letGo = (): void => this.#letGo();
    signal.addEventListener("abort", letGo, { once: true });
    if (signal.aborted) letGo();
    try {
      return await performing;
    } catch (error) {
      throw this.#givenUp === undefined ? error : new Error(`given up: ${this.#givenUp}`, { cause: error });
    } finally {
      this.#ended.abort();
      signal.removeEventListener("abort", letGo);
    }
  }

  #giveUp(text: string): void {
    this.#givenUp ??= text;
    this.#letGo();
  }

  /** What is given up ends by itself, unless the other end is out of reach. */
  #letGo(): void {
    const { hooks, dom, request, copies, definition, clock } = this.#move;
    const { shell } = hooks;
    // The memory's connection is closed by the hypervisor itself; a disk's own storage may be at the same address.
    const onNetwork = definition.live.disks.some(({ type }) => type === "network");
    if (!shell || copies.length === 0 || onNetwork || this.#lettingGo) return;
    this.#lettingGo = true;
    const signal = this.#ended.signal;
    const run = async (): Promise<void> => {
      for (;;) {
        await clock.sleep(lettingGoMs, { signal });
        if (this.#postCopy) return;
        await breakOff(shell, { name: dom.name, address: request.destinationAddress }, signal).catch(() => undefined);
      }
    };
    run().catch(() => undefined); // it has ended
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#polling;
  }

  async #poll(): Promise<void> {
    const { source, dom, clock, signal, request } = this.#move;
    const everyMs = request.contract.policy === "auto-converge" ? throttledPollMs : pollMs;
    while (!this.#ended.signal.aborted) {
      try {
        if (signal.aborted || this.#givenUp !== undefined) await unlessRefused(source.remote.domainAbortJob({ dom }));
        const stats = await unlessRefused(source.remote.domainGetJobStats({ dom, flags: 0 }));
        if (stats?.type === DomainJobType.UNBOUNDED || stats?.type === DomainJobType.BOUNDED) await this.#show(moveProgress(stats.params));
        await clock.sleep(everyMs, { signal: this.#ended.signal });
      } catch {
        return; // the connection is gone: the call under way says so
      }
    }
  }

  async #show(progress: MoveProgress): Promise<void> {
    const { hooks } = this.#move;
    this.last = progress;
    this.#watchForStall(progress);
    this.diskBytes = Math.max(this.diskBytes, progress.diskProcessedBytes);
    this.dirtyBytesPerSecond = progress.dirtyBytesPerSecond ?? this.dirtyBytesPerSecond;
    if (progress.throttlePercent !== undefined) this.throttlePercent = Math.max(this.throttlePercent ?? 0, progress.throttlePercent);
    hooks.progress(progress);
    if (await this.#hasItsTurn(progress)) await this.#keep(this.#contract.next(progress));
  }

  /** Until it is the guest's turn, the hypervisor may hardly pause it: it sends what is changed meanwhile. */
  async #hasItsTurn({ memoryTotalBytes, memoryRemainingBytes, rounds = 0, bytesPerSecond = 0 }: MoveProgress): Promise<boolean> {
    const { hooks, signal } = this.#move;
    if (hooks.turn?.before !== "switchover" || memoryTotalBytes === 0) return true;
    const near = rounds > 1 || memoryRemainingBytes < (bytesPerSecond * askedAheadMs) / 1000;
    if (near && !this.#askedForTurn) {
      this.#askedForTurn = true;
      const taken = (): void => void (this.#heldBack = false);
      hooks.turn.take(AbortSignal.any([signal, this.#ended.signal])).then(taken, taken);
    }
    return !this.#heldBack;
  }

  async #keep(what: ContractAct): Promise<void> {
    const { source, dom, hooks } = this.#move;
    const { remote } = source;
    if (what.act === "none") return;
    if (what.act === "limit") return await this.#allow(what.pauseMs);
    this.atLast = what.text;
    if (what.act === "give-up") this.#giveUp(what.text);
    else if (what.act === "post-copy") {
      this.#postCopy = true; // Meanwhile, too: a connection must not be broken off that may carry it already.
      this.#postCopy = await isDone(remote.domainMigrateStartPostCopy({ dom, flags: 0 }));
      if (!this.#postCopy) this.#giveUp(`${what.text}; but the hypervisor refused`);
    } else {
      const recorded = await hooks.phase("suspend").then(
        () => true,
        () => false,
      );
      if (!recorded || !(await isDone(remote.domainSuspend({ dom }))))
        this.#giveUp(`${what.text}; but ${recorded ? "the hypervisor refused" : "that could not be written down"}`);
    }
  }

  async #allow(pauseMs: number): Promise<void> {
    const { source, dom } = this.#move;
    await unlessRefused(source.remote.domainMigrateSetMaxDowntime({ dom, downtime: BigInt(pauseMs), flags: 0 }));
  }

  #watchForStall({ memoryProcessedBytes, diskProcessedBytes }: MoveProgress): void {
    const bytes = memoryProcessedBytes + diskProcessedBytes;
    const now = this.#move.clock.monotonic();
    if (bytes !== this.#moved.bytes) this.#moved = { bytes, at: now };
    else if (now - this.#moved.at > stallMs) this.#giveUp(`no byte moved for ${stallMs / 1000} s`);
  }
}

/** The policy's last act is asked for once: who refuses it would send on for ever. */
async function isDone(call: Promise<unknown>): Promise<boolean> {
  return (await unlessRefused(call.then(() => true))) ?? false;
}

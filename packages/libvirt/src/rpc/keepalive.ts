import type { Clock } from "@godwit/core";

/** Facts of src/rpc/virkeepaliveprotocol.x. */
export const keepaliveProgram = { name: "keepalive", number: 0x6b656570, version: 1, ping: 1, pong: 2 } as const;

export interface KeepaliveOptions {
  /** Silence after which the peer is asked for a sign of life, in milliseconds. Default 5000; 0 turns keepalive off. */
  readonly intervalMs?: number;
  /** Questions without an answer before the connection counts as lost. Default 5: lost after 6 intervals of silence. */
  readonly count?: number;
}

/** What a keepalive watches and does. */
export interface KeepalivePeer {
  /** When the last message came, on the clock's monotonic time. */
  lastReceived(): number;
  /** We do not read at the moment: silence says nothing. */
  isPaused(): boolean;
  ping(): void;
  pong(): void;
  /** `silentMs`: how long nothing came. */
  dead(silentMs: number): void;
}

/**
 * Asks a silent peer for signs of life as libvirt's virKeepAlive does: any message resets the count. While reading is paused
 * the peer is told that we live, because its questions are not read either. Ends when `signal` fires or the peer is dead.
 */
export async function watchPeer(peer: KeepalivePeer, options: KeepaliveOptions, clock: Clock, signal: AbortSignal): Promise<void> {
  const interval = options.intervalMs ?? 5000;
  const count = options.count ?? 5;
  if (interval <= 0) return;
  let asked = 0;
  let since = peer.lastReceived();
  // Questions are counted from when they were asked, so that a process that was stopped asks before it judges.
  let waitedFrom = since;
  while (!signal.aborted) {
    const last = peer.lastReceived();
    if (last > since) {
      asked = 0;
      since = waitedFrom = last;
    }
    const due = waitedFrom + interval - clock.monotonic();
    if (due > 0) {
      await clock.sleep(due, { signal }).catch(() => undefined);
    } else if (peer.isPaused()) {
      peer.pong();
      asked = 0;
      since = waitedFrom = clock.monotonic();
    } else if (asked < count) {
      peer.ping();
      asked += 1;
      waitedFrom = clock.monotonic();
    } else {
      peer.dead(clock.monotonic() - since);
      return;
    }
  }
}

/** What a guest said it has durably written, in the order in which it said so. */
export interface Acknowledgement {
  readonly number: number;
  readonly run: string;
  /** 1/100 s of the guest's clock. */
  readonly uptime: number;
}

export interface AcknowledgementLog {
  readonly acknowledged: readonly Acknowledgement[];
  /** The guest's workload started: after the last number that it found on its disk. */
  readonly starts: readonly { readonly run: string; readonly after: number }[];
  /** Numbers whose writing failed at least once, as the guest saw it. */
  readonly writeErrors: readonly number[];
}

/** Reads a guest's log; a last line that is not complete does not count yet. */
export function parseAcknowledgements(text: string): AcknowledgementLog {
  const acknowledged: Acknowledgement[] = [];
  const starts: { run: string; after: number }[] = [];
  const writeErrors: number[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    const ack = /^(\d+) ([0-9a-f]{8}) (\d+)$/.exec(line);
    const start = /^# start ([0-9a-f]{8}) (\d+)$/.exec(line);
    const error = /^# error (\d+)$/.exec(line);
    if (ack) acknowledged.push({ number: Number(ack[1]), run: ack[2]!, uptime: Number(ack[3]) });
    else if (start) starts.push({ run: start[1]!, after: Number(start[2]) });
    else if (error) writeErrors.push(Number(error[1]));
  }
  return { acknowledged, starts, writeErrors };
}

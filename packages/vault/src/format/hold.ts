import { VaultError } from "../errors.ts";

/** Why a point must not be deleted; docs/formats/vault.md, section 14. */
export interface Hold {
  readonly id: string;
  /** The point's id. */
  readonly point: string;
  /** A lock is not released before its time, not even by who set it. */
  readonly kind: "hold" | "lock";
  /** Milliseconds since the epoch; without it, until it is released. */
  readonly until?: number;
  readonly reason: string;
  /** RFC 3339. */
  readonly created: string;
}

export function holdToJson({ point, kind, until, reason, created }: Omit<Hold, "id">): unknown {
  return { point, kind, ...(until === undefined ? {} : { until: new Date(until).toISOString() }), reason, created };
}

/** Throws `corrupt`. */
export function parseHold(json: unknown, name: string): Hold {
  const [, point, id] = name.split("/");
  const fields = json !== null && typeof json === "object" ? (json as Readonly<Record<string, unknown>>) : {};
  const { kind, until, reason, created } = fields;
  const time = typeof until === "string" ? Date.parse(until) : Number.NaN;
  const whole = fields["point"] === point && typeof reason === "string" && typeof created === "string";
  if (!whole || (kind !== "hold" && kind !== "lock") || (until !== undefined && Number.isNaN(time))) {
    throw new VaultError("corrupt", `${name} makes no sense`, { object: name });
  }
  return { id: id ?? "", point: point ?? "", kind, ...(until === undefined ? {} : { until: time }), reason, created };
}

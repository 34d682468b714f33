import { SshError } from "./errors.ts";

/** One host on the way. */
export interface Hop {
  readonly host: string;
  readonly port: number | undefined;
  readonly user: string | undefined;
}

/** Reads ProxyJump's `[user@]host[:port]` or `ssh://…`, comma-separated. */
export function parseJump(text: string | undefined): readonly Hop[] {
  if (text === undefined || text === "") return [];
  return text.split(",").map((item) => {
    const match = /^(?:ssh:\/\/)?(?:([^@\s]+)@)?(\[[^\]\s]+\]|[^:@\s[\]]+)(?::(\d{1,5}))?\/?$/.exec(item.trim());
    const port = match?.[3] === undefined ? undefined : Number(match[3]);
    if (!match || (port !== undefined && (port < 1 || port > 65_535))) {
      throw new SshError("config", `jump host ${JSON.stringify(item)} is not [user@]host[:port]; correct ProxyJump or jump`);
    }
    return { host: match[2]!.replace(/^\[|\]$/g, ""), port, user: match[1] };
  });
}

export function formatHop({ host, port, user }: Hop): string {
  return `${user === undefined ? "" : `${user}@`}${host.includes(":") ? `[${host}]` : host}${port === undefined ? "" : `:${port}`}`;
}

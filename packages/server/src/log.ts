import pino, { type Logger } from "pino";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

/**
 * Structured logs: one JSON object per line on stderr, written before the call returns, so that a crash loses
 * none. Requests are logged without headers and bodies, and what looks like a secret is blotted out.
 */
export function createLog(level: LogLevel): Logger {
  const secret = ["token", "password", "authorization", "secret"];
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secret.flatMap((name) => [name, `*.${name}`]), censor: "(hidden)" },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Where the engine says what it does; a pino logger is one. */
export interface Log {
  debug(context: object, text: string): void;
  info(context: object, text: string): void;
  warn(context: object, text: string): void;
}

export const noLog: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined };

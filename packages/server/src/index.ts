export { ConfigError, readArguments, type ServerConfig } from "./config.ts";
export { type GodwitServer, type ServerOptions, startServer } from "./server.ts";
export { SqliteStore } from "./store/sqlite/store.ts";

export * from "./apply.ts";
export {
  type Answer,
  ApiError,
  type CallInput,
  type CallOutput,
  Client,
  type ClientOptions,
  type StreamName,
  type UnaryName,
} from "./client.ts";
export * from "./common.ts";
export * from "./host.ts";
export * from "./job.ts";
export * from "./migration.ts";
export * from "./network.ts";
export * from "./placement.ts";
export { openApiDocument } from "./openapi.ts";
export * from "./protection.ts";
export * from "./protection-groups.ts";
export { type Route, route } from "./route.ts";
export { type RouteName, routes } from "./routes.ts";
export { parseServerSentEvents, type ServerSentEvent } from "./server-sent-events.ts";
export * from "./system.ts";
export * from "./validation.ts";
export * from "./vm.ts";

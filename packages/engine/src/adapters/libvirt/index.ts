export { AccelerationProber } from "./acceleration.ts";
export { LibvirtHost, openLibvirtHost, type OpenLibvirtHost } from "./host.ts";
export * from "./xml/index.ts";

import type { Check } from "../model/reason.ts";

export const pass = (id: string, text: string): Check => ({ id, verdict: "pass", text });
export const warn = (id: string, text: string, remedy: string): Check => ({ id, verdict: "warn", text, remedy });
export const fail = (id: string, text: string, remedy: string): Check => ({ id, verdict: "fail", text, remedy });
export const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

import type { HostFindings } from "../doctor/facts.ts";
import type { HostView, PoolView } from "../model/host.ts";
import type { HostMigrationSettings, LiveMigrationSettings, NetworkVerdict, NetworkView } from "../model/network.ts";
import type { Check } from "../model/reason.ts";
import type { VmView } from "../model/vm.ts";
import type { CpuBaseline } from "./baseline.ts";

export const categories = ["inventory", "system", "access", "network", "storage", "migration", "cpu"] as const;
export type ValidationCategory = (typeof categories)[number];

/** One test of a validation, with all that it found. */
export interface ValidationTest {
  readonly category: ValidationCategory;
  /** As an admin calls it. */
  readonly name: string;
  /** The worst of its checks. */
  readonly verdict: Check["verdict"];
  readonly checks: readonly Check[];
}

export interface ValidationReport {
  /** RFC 3339. */
  readonly startedAt: string;
  readonly endedAt: string;
  readonly hosts: readonly string[];
  /** The worst of its tests. */
  readonly verdict: Check["verdict"];
  readonly tests: readonly ValidationTest[];
}

/** All that a validation looks at. */
export interface ValidationFacts {
  readonly hosts: readonly HostView[];
  readonly findings: readonly HostFindings[];
  readonly vms: readonly VmView[];
  readonly pools: readonly PoolView[];
  readonly networks: readonly NetworkView[];
  /** For every ordered pair of connected hosts. */
  readonly paths: readonly { readonly source: string; readonly destination: string; readonly verdicts: readonly NetworkVerdict[] }[];
  readonly live: LiveMigrationSettings;
  readonly settings: readonly { readonly host: string; readonly settings: HostMigrationSettings }[];
  readonly cpu: CpuBaseline;
  /** For every ordered pair of hosts that a guest was really moved between; absent: nobody asked. */
  readonly trials?: readonly Check[] | undefined;
}

const order: readonly Check["verdict"][] = ["fail", "warn", "pass", "not-applicable"];

/** The worst of some verdicts; of none, that nothing applied. */
export function worst(verdicts: readonly Check["verdict"][]): Check["verdict"] {
  return order.find((verdict) => verdicts.includes(verdict)) ?? "not-applicable";
}

export function test(category: ValidationCategory, name: string, checks: readonly Check[]): ValidationTest {
  return { category, name, checks, verdict: worst(checks.map(({ verdict }) => verdict)) };
}

export const pass = (id: string, text: string): Check => ({ id, verdict: "pass", text });
export const warn = (id: string, text: string, remedy: string): Check => ({ id, verdict: "warn", text, remedy });
export const fail = (id: string, text: string, remedy: string): Check => ({ id, verdict: "fail", text, remedy });
export const notApplicable = (id: string, text: string, remedy: string): Check => ({ id, verdict: "not-applicable", text, remedy });

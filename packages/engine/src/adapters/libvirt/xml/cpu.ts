import type { XmlElement } from "./document.ts";

/** `<cpu>` of a domain, of the host model in domain capabilities, or of a baseline. */
export interface CpuXml {
  /** `default` when the domain leaves it to the hypervisor. */
  readonly mode: string;
  readonly model?: string | undefined;
  readonly vendor?: string | undefined;
  readonly fallback?: string | undefined;
  readonly match?: string | undefined;
  readonly check?: string | undefined;
  /** Only of host-passthrough and maximum. */
  readonly migratable?: boolean | undefined;
  readonly features: readonly CpuFeature[];
}

export interface CpuFeature {
  readonly name: string;
  /** `require`, `disable`, `optional`, `forbid` or `force`. */
  readonly policy: string;
}

export function readCpu(cpu: XmlElement | undefined): CpuXml {
  if (!cpu) return { mode: "default", features: [] };
  const model = cpu.child("model");
  const migratable = cpu.attribute("migratable");
  return {
    // libvirt leaves the mode out for a plain <model>, which means custom; a <cpu> that only has a topology means the default.
    mode: cpu.attribute("mode") ?? (model ? "custom" : "default"),
    model: model?.text || undefined,
    vendor: cpu.textOf("vendor"),
    fallback: model?.attribute("fallback"),
    match: cpu.attribute("match"),
    check: cpu.attribute("check"),
    migratable: migratable === undefined ? undefined : migratable === "on",
    features: readFeatures(cpu),
  };
}

export function readFeatures(cpu: XmlElement): CpuFeature[] {
  return cpu.children("feature").flatMap((feature) => {
    const name = feature.attribute("name");
    return name === undefined ? [] : [{ name, policy: feature.attribute("policy") ?? "require" }];
  });
}

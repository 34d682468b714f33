export { type BaselineHost, type BaselineVm, type CpuBaseline, cpuBaseline } from "./baseline.ts";
export { type Comparison, type ComparisonReport, Cpus, type CpusOptions } from "./cpus.ts";
export type { ValidationCategory, ValidationFacts, ValidationReport, ValidationTest } from "./model.ts";
export { trialsKind, type TrialsInput, type TrialsResult } from "./trials.ts";
export { judgeCluster, validateCluster, type ValidateOptions } from "./validate.ts";

export { filesCaptureJob, filesRecoverJob } from "./jobs.ts";
export type { FilesCaptured, FilesCaptureInput, FilesCaptureWish, FilesRecovered, FilesRecoverInput, FilesRecoverWish } from "./model.ts";
export { GuestFiles, type GuestFilesOptions } from "./service.ts";

import type { RecoveryPoint } from "@godwit/api";
import type { FoundPoint } from "@godwit/engine";
import type { Answer, Handlers } from "../http/contract.ts";
import { pageOf } from "../http/paging.ts";
import type { Services } from "../services.ts";
import { jobView } from "./views.ts";

type Names =
  | "vaultLocationList"
  | "vaultLocationAdd"
  | "vaultLocationRemove"
  | "vmCapture"
  | "pointList"
  | "pointGet"
  | "pointRecover"
  | "keptImagesList"
  | "recoveryConfirm"
  | "vmCaptureFiles"
  | "pointRecoverFiles";

export function protectionHandlers({ protection, jobs }: Services): Pick<Handlers, Names> {
  return {
    vaultLocationList: async ({ query }) => pageOf(await protection.vaults(), ({ name }) => [name], query),
    vaultLocationAdd: ({ body, signal }) => protection.addVault(body, { signal }),
    async vaultLocationRemove({ params }) {
      await protection.removeVault(params.vault);
      return undefined;
    },
    async vmCapture({ params, body, idempotencyKey }) {
      const input = await protection.captureInput({ ...body, vm: params.vm });
      return jobView(await jobs.submit("vm.capture", input, { idempotencyKey }));
    },
    async vmCaptureFiles({ params, body, idempotencyKey }) {
      const input = await protection.filesInput({ ...body, vm: params.vm });
      return jobView(await jobs.submit("vm.capture-files", input, { idempotencyKey }));
    },
    async pointRecoverFiles({ params, body, idempotencyKey, signal }) {
      const input = await protection.filesRecoverInput({ ...body, point: params.point }, { signal });
      return jobView(await jobs.submit("vm.recover-files", input, { idempotencyKey }));
    },
    async pointList({ query, signal }) {
      const points = await protection.points(query, { signal });
      return pageOf(points.map(pointView), ({ time, id }) => [time, id], query);
    },
    async pointRecover({ params, body, idempotencyKey, signal }) {
      const input = await protection.recoverInput({ ...body, point: params.point }, { signal });
      return jobView(await jobs.submit("vm.recover", input, { idempotencyKey }));
    },
    keptImagesList: async ({ query }) => pageOf(await protection.keptImages(), ({ since, id }) => [since, id], query),
    recoveryConfirm: async ({ params, idempotencyKey }) =>
      jobView(await jobs.submit("vm.confirm-recovery", await protection.confirmInput(params.vm), { idempotencyKey })),
    pointGet: async ({ params, query, signal }) => pointView(await protection.point(params.point, query.vault, { signal })),
  };
}

function pointView({ point, vault }: FoundPoint): Answer<RecoveryPoint> {
  const { id, name, time, consistency, disks, machine, parent, reasons, figures } = point;
  return {
    id,
    vaultId: vault.id,
    vault: vault.name,
    vm: name,
    time,
    consistency: consistency.level,
    evidence: consistency.evidence,
    disks: disks.map((disk) => ({ name: disk.name, sizeBytes: disk.size })),
    bootable: machine !== undefined,
    ...(parent !== undefined && { parent }),
    reasons,
    readBytes: figures["readBytes"] ?? 0,
    storedBytes: figures["storedBytes"] ?? 0,
  };
}

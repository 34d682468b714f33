import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { libvirtCpu } from "../../../src/adapters/libvirt/cpu.ts";
import { type LibvirtHost, openLibvirtHost } from "../../../src/adapters/libvirt/index.ts";
import { EngineError } from "../../../src/index.ts";
import { noLog } from "../../../src/inventory/index.ts";
import { PrivateLibvirtd } from "./private-libvirtd.ts";

const qemu = "qemu:///session";
const domain = (name: string, uuid: string, cpu: string): string => `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid>
  <memory unit='MiB'>24</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>${cpu}
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>`;
const id = (last: number): string => `6f1f1a2b-0000-4000-8000-00000000010${last}`;

let daemon: PrivateLibvirtd;
let host: LibvirtHost;
before(async () => {
  daemon = await PrivateLibvirtd.start();
  host = await openLibvirtHost({ record: { name: "here", uri: daemon.uri(qemu) }, signal: AbortSignal.timeout(15_000), log: noLog });
});
after(async () => {
  await host?.[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
});

test("what a host offers is a model that a definition can take, with every feature spelled out", async ({ signal }) => {
  const cpu = libvirtCpu(host, "qemu");
  const offered = await cpu.offered({ signal });
  assert.match(offered.document, /<cpu[^>]*>[\s\S]*<model[^>]*>[^<]+<\/model>/);
  assert.ok(offered.features.includes("sse2") && offered.features.length > 20, offered.features.join());
  const common = await cpu.common([offered, offered], { signal });
  assert.deepEqual(common.features, offered.features, "what two equal hosts have in common is what each has");
});

test("the common set of two hosts is what the narrower one has", async ({ signal }) => {
  const cpu = libvirtCpu(host, "qemu");
  const offered = await cpu.offered({ signal });
  const narrow = { features: [], document: "<cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>" };
  const common = await cpu.common([offered, narrow], { signal });
  assert.ok(common.features.length < offered.features.length, `${common.model} with ${common.features.length}`);
  assert.ok(common.features.every((feature) => offered.features.includes(feature)));
});

test("what a VM was given: a model's features, its host's CPU, or the hypervisor's own", async ({ signal }) => {
  const cpus = [`<cpu mode='custom'><model>qemu64</model></cpu>`, `<cpu mode='host-passthrough'/>`, ""];
  for (const [index, text] of cpus.entries())
    await daemon.virsh(qemu, "define", await daemon.file(`${index}.xml`, domain(`vm${index}`, id(index), text)));
  const cpu = libvirtCpu(host, "qemu");
  const named = await cpu.given(id(0), { signal });
  assert.ok(typeof named !== "string" && named.includes("sse2"), String(named));
  assert.equal(await cpu.given(id(1), { signal }), "host");
  assert.ok(
    ["default", named.toString()].includes((await cpu.given(id(2), { signal })).toString()),
    "libvirt may write its default model down",
  );
  await assert.rejects(cpu.given(id(9), { signal }), (error) => error instanceof EngineError && error.kind === "not-found");
});

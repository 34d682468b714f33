import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError, type HostEvent, type HypervisorHost } from "../../src/index.ts";

/** A hypervisor to try the promises of `HypervisorHost` on. */
export interface ContractSubject extends AsyncDisposable {
  readonly host: HypervisorHost;
  /** A defined VM that is off and can be started. */
  readonly vmId: string;
}

const noVm = "00000000-1111-4222-8333-444444444444";
const isKind = (kind: string) => (error: unknown) => error instanceof EngineError && error.kind === kind;

/** One test for each promise in the comments of `HypervisorHost`. */
export function hypervisorContract(name: string, open: () => Promise<ContractSubject>): void {
  const promise = (what: string, body: (subject: ContractSubject, signal: AbortSignal) => Promise<void>): void => {
    test(`${name}: ${what}`, async (t) => {
      await using subject = await open();
      await body(subject, AbortSignal.any([t.signal, AbortSignal.timeout(20_000)]));
    });
  };

  promise("facts name the host, and every VM is listed as it reads alone", async ({ host, vmId }, signal) => {
    const facts = await host.facts({ signal });
    assert.equal(facts.uuid, host.uuid);
    assert.match(host.uuid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.ok(facts.memoryBytes > 0 && facts.cpu.count > 0 && facts.hostname !== "");
    const listed = (await host.listVms({ signal })).find((vm) => vm.id === vmId);
    assert.ok(listed);
    const alone = await host.vm(vmId, { signal });
    const sizeless = (vm: typeof alone): unknown => ({
      ...vm,
      disks: vm.disks.map((disk) => ({ ...disk, capacityBytes: undefined, allocatedBytes: undefined })),
    });
    assert.deepEqual(sizeless(alone), sizeless(listed));
    assert.equal(alone.state, "off");
  });

  promise("a VM that is not there is not-found, for every question", async ({ host }, signal) => {
    const questions = [
      host.vm(noVm, { signal }),
      host.start(noVm, { signal }),
      host.shutdown(noVm, { signal }),
      host.turnOff(noVm, { signal }),
    ];
    for (const question of await Promise.allSettled(questions)) {
      assert.ok(question.status === "rejected" && isKind("not-found")(question.reason));
    }
  });

  promise("what the hypervisor refuses is said to be its word", async ({ host, vmId }, signal) => {
    await assert.rejects(host.turnOff(vmId, { signal }), (error) => isKind("hypervisor")(error) && (error as Error).cause instanceof Error);
  });

  promise("a change after opening is told, even if nobody listened yet", async ({ host, vmId }, signal) => {
    await host.start(vmId, { signal });
    await until(host, signal, (event) => event.kind === "vm-changed" && event.vmId === vmId);
    assert.equal((await host.vm(vmId, { signal })).state, "running");
    assert.equal((await host.listVms({ signal })).find((vm) => vm.id === vmId)?.state, "running");
    await host.turnOff(vmId, { signal });
    assert.equal((await host.vm(vmId, { signal })).state, "off");
  });

  promise("an abort rejects with its reason, and leaves the connection usable", async ({ host, vmId }, signal) => {
    const reason = new Error("changed my mind");
    const aborted = AbortSignal.abort(reason);
    await assert.rejects(host.listVms({ signal: aborted }), reason);
    await assert.rejects(host.facts({ signal: aborted }), reason);
    const stop = new AbortController();
    const asked = host.vm(vmId, { signal: stop.signal });
    stop.abort(reason);
    await assert.rejects(asked, reason);
    assert.equal((await host.vm(vmId, { signal })).id, vmId);
  });

  promise("after closing, closed resolves, events end and every call is host-lost", async ({ host, vmId }, signal) => {
    const events = (async () => {
      for await (const _ of host.events({ signal })) continue;
    })();
    await host[Symbol.asyncDispose]();
    await host[Symbol.asyncDispose]();
    assert.equal(await host.closed, undefined);
    await events;
    await assert.rejects(host.vm(vmId, { signal }), isKind("host-lost"));
    await assert.rejects(host.listVms({ signal }), isKind("host-lost"));
    await assert.rejects(host.facts({ signal }), isKind("host-lost"));
    await assert.rejects(host.pools({ signal }), isKind("host-lost"));
  });
}

async function until(host: HypervisorHost, signal: AbortSignal, wanted: (event: HostEvent) => boolean): Promise<void> {
  for await (const event of host.events({ signal })) if (wanted(event)) return;
  assert.fail("the events ended");
}

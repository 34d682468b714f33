import assert from "node:assert/strict";
import { test } from "node:test";
import { AccelerationProber } from "../../../src/adapters/libvirt/index.ts";
import type { HostShell } from "../../../src/index.ts";

test("KVM counts when a guest ran, not when it is only offered; what cannot be tried is a claim; one answer per boot", async (t) => {
  const answer = (code: number, stdout: string): HostShell => ({
    run: (argv) => Promise.resolve(argv[0] === "cat" ? { code: 0, stdout: "boot-1\n", stderr: "" } : { code, stdout, stderr: "" }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  const probe = (shell: HostShell | undefined, domainTypes = ["qemu", "kvm"], prober = new AccelerationProber()) =>
    prober
      .probe({ shell, arch: "x86_64", emulator: "/q", domainTypes, version: "1" }, t.signal)
      .then(({ kind, evidence }) => `${kind} ${evidence}`);
  assert.equal(await probe(answer(43, "")), "kvm probed");
  assert.equal(await probe(answer(137, "")), "tcg probed");
  assert.equal(await probe(answer(134, "failed to set MSR")), "tcg probed");
  assert.equal(await probe(answer(1, "Could not access KVM kernel module: Permission denied")), "kvm claimed");
  assert.equal(await probe(answer(127, "")), "kvm claimed");
  assert.equal(await probe(undefined), "kvm claimed");
  assert.equal(await probe(answer(43, ""), ["qemu"]), "tcg claimed");
  assert.equal(await probe(answer(43, ""), ["test"]), "unknown none");
  const prober = new AccelerationProber();
  assert.equal(await probe(answer(43, ""), undefined, prober), "kvm probed");
  assert.equal(await probe(answer(137, ""), undefined, prober), "kvm probed", "asked twice in one boot");
});

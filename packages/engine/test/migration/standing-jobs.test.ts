import assert from "node:assert/strict";
import { migrationJob, storageMoveJob } from "../../src/index.ts";
import { jobKindContract } from "../jobs/job-kind-contract.ts";
import { ScriptedSite, work } from "./scripted-site.ts";

for (const kind of ["cold", "quick"] as const) {
  jobKindContract(`a ${kind} migration with its disk`, {
    setup() {
      const site = new ScriptedSite(kind === "cold" ? "off" : "running");
      const { alpha, bravo } = site;
      return {
        kind: migrationJob(site.migrations),
        input: {
          vmId: "v",
          vm: "web",
          sourceId: "alpha",
          source: "alpha",
          destinationId: "bravo",
          destination: "bravo",
          kind,
          storagePool: "local",
          peerToPeer: false,
          autoConverge: false,
        },
        verify(job) {
          const [here, there] = job.state === "done" ? [bravo, alpha] : [alpha, bravo];
          assert.ok(here.defined && !there.defined, `it is defined on ${here.id} alone`);
          assert.deepEqual([...here.files], [[`${here.folder}/web.qcow2`, "the disk"]], "its disk is there, and no file else");
          assert.equal(there.files.size, 0, `files were left on ${there.id}`);
          assert.equal(here.autostart, true);
          if (kind === "cold") return;
          assert.deepEqual([here.process, here.memory], ["running", work], "it goes on as it was");
          assert.equal(there.process, undefined);
        },
      };
    },
  });
}

jobKindContract("a live migration with its disk", {
  setup() {
    const site = new ScriptedSite("running");
    const { alpha, bravo } = site;
    const reason = { code: "test", text: "there is no other" };
    site.network = { networkId: "n", network: "migration", rank: 1, verdict: "chosen", reason, destinationAddress: "10.0.0.2" };
    const ends = { sourceId: "alpha", source: "alpha", destinationId: "bravo", destination: "bravo" };
    return {
      kind: migrationJob(site.migrations),
      input: { vmId: "v", vm: "web", ...ends, storagePool: "local", peerToPeer: false, autoConverge: false },
      verify(job) {
        const [here, there] = bravo.process === "running" ? [bravo, alpha] : [alpha, bravo];
        assert.ok(job.state !== "done" || here === bravo, "it arrived");
        assert.deepEqual([here.defined, there.defined, here.process, there.process], [true, false, "running", undefined]);
        assert.deepEqual([...here.files], [[`${here.folder}/web.qcow2`, "the disk"]], "its disk is there, and no file else");
        assert.equal(there.files.size, 0, `files were left on ${there.id}`);
        assert.equal(here.memory, work);
      },
    };
  },
});

for (const state of ["running", "off"] as const) {
  jobKindContract(`a move of the disk of a VM that is ${state}`, {
    setup() {
      const site = new ScriptedSite(state);
      const { alpha } = site;
      return {
        kind: storageMoveJob(site.migrations),
        input: { vmId: "v", vm: "web", hostId: "alpha", host: "alpha", pool: "fast" },
        verify(job) {
          const path = job.state === "done" ? "/fast/web.qcow2" : "/a/web.qcow2";
          assert.deepEqual([alpha.diskPath, [...alpha.files]], [path, [[path, "the disk"]]], "one image is left: the one in use");
          assert.equal(alpha.mirror, undefined);
        },
      };
    },
  });
}

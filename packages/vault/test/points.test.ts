import assert from "node:assert/strict";
import { test } from "node:test";
import { CancelledError } from "@godwit/core";
import { StoreError, Vault } from "@godwit/vault";
import { newVault, secret, signal, tuning } from "./support/disks.ts";
import { FaultyStore } from "./support/faulty-store.ts";

// A rejection that nobody handles fails these tests, and ends the server.
test("a listing of points that is cancelled among its reads ends with that, and with nothing else", async () => {
  const { store, vault } = await newVault();
  for (const name of ["a", "b", "c"]) await vault.put({ name, disks: [] }, { signal });
  const stop = new AbortController();
  const faulty = new FaultyStore(store);
  const opened = await Vault.open(faulty, secret, { signal, tuning });
  faulty.script = ({ operation }) => {
    if (operation === "get") stop.abort(new CancelledError("enough"));
    return undefined;
  };
  await assert.rejects(opened.points({ signal: stop.signal }), { message: "enough" });
});

test("a point that cannot be read while the listing goes on is an error of the call, and nothing else", async () => {
  const { store, vault } = await newVault();
  for (const name of ["a", "b", "c"]) await vault.put({ name, disks: [] }, { signal });
  // A listing that takes its time, as one of many pages does.
  const list = store.list.bind(store);
  store.list = async function* (prefix, options) {
    for await (const info of list(prefix, options)) {
      yield info;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const get = store.get.bind(store);
  const opened = await Vault.open(store, secret, { signal, tuning });
  store.get = async (name, options) => {
    if (name.startsWith("point/")) throw new StoreError("denied", "not yours");
    return await get(name, options);
  };
  await assert.rejects(opened.points({ signal }), { kind: "denied" });
});

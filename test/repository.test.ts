import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, it } from "node:test";

const root = resolve(import.meta.dirname, "..");

describe("the repository", () => {
  it("locks npm packages without naming where they were downloaded from", () => {
    assert.doesNotMatch(readFileSync(`${root}/package-lock.json`, "utf8"), /https?:\/\/[^"]*\.tgz/);
  });

  it("keeps every tracked file under a mebibyte", () => {
    const files = execFileSync("git", ["-C", root, "ls-files", "-z"], { encoding: "utf8" }).split("\0").filter(Boolean);
    const large = files.filter((file) => {
      try {
        return readFileSync(`${root}/${file}`).length > 1 << 20;
      } catch {
        return false; // deleted in the working tree
      }
    });
    assert.deepEqual(large, []);
  });
});

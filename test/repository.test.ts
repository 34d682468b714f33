import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, it } from "node:test";
import { apiPage, renewed } from "../scripts/api-reference.ts";

const root = resolve(import.meta.dirname, "..");

/** Those that are not deleted in the working tree. */
function trackedFiles(): string[] {
  const files = execFileSync("git", ["-C", root, "ls-files", "-z"], { encoding: "utf8" }).split("\0");
  return files.filter((file) => file !== "" && existsSync(join(root, file)));
}

/** Links of a Markdown text to files, as they are written; what stands in code is no link. */
function relativeLinks(markdown: string): string[] {
  const prose = markdown.replace(/^```.*?^```/gms, "").replace(/`[^`\n]*`/g, "");
  const targets = [...prose.matchAll(/\]\(([^()\s]+)\)/g), ...prose.matchAll(/\bsrc="([^"]+)"/g)].map((match) => match[1] ?? "");
  return targets.filter((target) => !/^[a-z][a-z+.-]*:/i.test(target));
}

/** As GitHub makes them of headings. */
function anchors(markdown: string): Set<string> {
  const headings = [...markdown.replace(/^```.*?^```/gms, "").matchAll(/^#+ (.+)$/gm)];
  return new Set(
    headings.map(([, text = ""]) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

function leadsSomewhere(file: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? join(root, file) : join(root, dirname(file), decodeURIComponent(path));
  if (!existsSync(target)) return false;
  return anchor === undefined || !target.endsWith(".md") || anchors(readFileSync(target, "utf8")).has(anchor);
}

describe("the repository", () => {
  it("locks npm packages without naming where they were downloaded from", () => {
    assert.doesNotMatch(readFileSync(`${root}/package-lock.json`, "utf8"), /https?:\/\/[^"]*\.tgz/);
  });

  it("keeps every tracked file under a mebibyte", () => {
    const large = trackedFiles().filter((file) => readFileSync(join(root, file)).length > 1 << 20);
    assert.deepEqual(large, []);
  });

  it("has no link in its documents that leads nowhere", () => {
    const dead = trackedFiles()
      .filter((file) => file.endsWith(".md"))
      .flatMap((file) =>
        relativeLinks(readFileSync(join(root, file), "utf8"))
          .filter((link) => !leadsSomewhere(file, link))
          .map((link) => `${file}: ${link}`),
      );
    assert.deepEqual(dead, []);
  });

  it("describes the HTTP API as it is (npm run generate)", () => {
    const page = readFileSync(apiPage, "utf8");
    assert.ok(page === renewed(page), "docs/api.md is out of date: npm run generate");
  });
});

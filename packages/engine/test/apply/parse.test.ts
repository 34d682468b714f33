import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { EngineError } from "../../src/model/errors.ts";
import { parseClusterFile } from "../../src/apply/parse.ts";

const head = "apiVersion: godwit/v1\nkind: Cluster\n";

function problems(text: string): string[] {
  try {
    parseClusterFile(text, "cluster.yaml");
  } catch (error) {
    assert.ok(error instanceof EngineError && error.kind === "invalid", String(error));
    assert.equal(error.checks.length, Math.min(error.message.split("\n").length, 50));
    return error.message.split("\n");
  }
  return [];
}

test("every problem at once, at its line, column and key, with what was probably meant", () => {
  const text = `${head}hosts:
  - name: alpha
    uri: 5
    migration:
      useAnyNetwork: yes
      networks:
        - subnt: 10.0.0.0/24
          priority: -1
networks:
  - subnet: 10.0.0.0/24
    role: clustr
    metric: 1.5
  - name:
liveMigration:
  order: Migration
  maximumParallelMigrations: many
`;
  assert.deepEqual(problems(text), [
    "cluster.yaml:5:10 hosts[0].uri: expected a text, got 5",
    "cluster.yaml:7:22 hosts[0].migration.useAnyNetwork: expected true or false, got 'yes'",
    "cluster.yaml:9:11 hosts[0].migration.networks[0].subnet: is missing",
    "cluster.yaml:9:11 hosts[0].migration.networks[0].subnt: unknown key (did you mean 'subnet'?); known are subnet, priority",
    "cluster.yaml:10:21 hosts[0].migration.networks[0].priority: expected at least 0, got -1",
    "cluster.yaml:13:11 networks[0].role: expected one of none, cluster, cluster-and-client, got 'clustr' (did you mean 'cluster'?)",
    "cluster.yaml:14:13 networks[0].metric: expected auto or a whole number from 1 to 268435455, got 1.5",
    "cluster.yaml:15:10 networks[1].name: expected a text, got nothing",
    "cluster.yaml:17:10 liveMigration.order: expected a list, got 'Migration'",
    "cluster.yaml:18:30 liveMigration.maximumParallelMigrations: expected a whole number from 0 to 1000, or host to let each host decide, got 'many'",
  ]);
});

test("header, syntax, double keys, several documents, an empty file", () => {
  assert.deepEqual(problems("apiVersion: godwit/v2\n"), [
    "cluster.yaml:1:1 kind: is missing",
    "cluster.yaml:1:13 apiVersion: expected godwit/v1, got 'godwit/v2' (did you mean 'godwit/v1'?)",
  ]);
  assert.deepEqual(problems(`${head}prune: true\nprune: false\n`), ['cluster.yaml:4:1 the key "prune" is there twice']);
  assert.deepEqual(problems(""), ["cluster.yaml:1:1 expected keys with values, got nothing"]);
  assert.match(problems(`${head}---\n${head}`)[0]!, /^cluster.yaml:3:1 Source contains multiple documents/);
  assert.match(problems(`${head}hosts: [\n`)[0]!, /^cluster.yaml:\d+:\d+ /);
});

test("anchors help within reason: a host's settings may be shared, a bomb is refused", () => {
  const { file } = parseClusterFile(
    `${head}hosts:\n  - name: alpha\n    migration: &m { maximumLiveMigrations: 3 }\n  - name: bravo\n    migration: *m\n`,
    "cluster.yaml",
  );
  assert.equal(file.hosts?.[1]?.migration?.maximumLiveMigrations, 3);
  assert.deepEqual(
    problems(`${head}hosts:\n  - name: alpha\n    migration: &m { maximum: 3 }\n  - name: bravo\n    migration: *m\n`).map((line) =>
      line.slice(0, 60),
    ),
    ["cluster.yaml:5:21 hosts[0].migration.maximum: unknown key; k", "cluster.yaml:5:21 hosts[1].migration.maximum: unknown key; k"],
  );
  const bomb = [
    "a: &a [x, x]",
    ...["b", "c", "d", "e", "f", "g", "h"].map((name, index) => `${name}: &${name} [${`*${"abcdefg"[index]},`.repeat(9)}]`),
  ];
  assert.match(problems(bomb.join("\n"))[0]!, /anchors and aliases cannot be resolved: Excessive alias count/);
});

test("what would only keep the server busy is refused before it is parsed", () => {
  assert.deepEqual(problems("x".repeat(300_000)), ["cluster.yaml:1:1 the file is larger than 256 KiB"]);
  assert.deepEqual(problems("[".repeat(100_000)), ["cluster.yaml:1:129 nested deeper than 128 levels"]);
  assert.deepEqual(problems("- ".repeat(100_000)), ["cluster.yaml:1:1 nested deeper than 128 levels"]);
});

test("property: any text is a file or an invalid error, with a place in it", () => {
  const word = fc.constantFrom(
    "hosts:",
    "networks:",
    "- name: a",
    "  subnet: 10.0.0.0/24",
    "&a",
    "*a",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "|",
    ">",
    "'",
    '"',
    "#",
    "?",
    "!!binary",
    "!x",
    "---",
    "%YAML 1.2",
    "\t",
    "\n",
    "  ",
    "é",
    "null",
    "<<: *a",
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 30 }), (words) => {
      for (const line of problems(`${head}${words.join("")}`)) assert.match(line, /^(cluster\.yaml:\d+:\d+ |… )/);
    }),
    { numRuns: 500 },
  );
});

test("the example of the guide is a file", () => {
  const guide = readFileSync(new URL("../../../../docs/guides/networks.md", import.meta.url), "utf8");
  const [, example = ""] = /```yaml\n([^]*?)```/.exec(guide) ?? [];
  assert.deepEqual(problems(example), []);
  assert.equal(parseClusterFile(example, "cluster.yaml").file.hosts?.length, 2);
});

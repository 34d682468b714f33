import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ValidationReport } from "@godwit/api";
import { validationTable } from "../src/commands/validation.ts";
import { validationPage } from "../src/output/validation-page.ts";

const evil = `<script>alert("x")</script>`;
const report: ValidationReport = {
  startedAt: "2026-01-01T00:00:00.000Z",
  endedAt: "2026-01-01T00:00:05.000Z",
  hosts: ["alpha", evil],
  verdict: "fail",
  tests: [
    {
      category: "network",
      name: "Redundancy",
      verdict: "fail",
      checks: [{ id: evil, verdict: "fail", text: evil, remedy: `connect ${evil}` }],
    },
    { category: "cpu", name: "Common CPU", verdict: "pass", checks: [{ id: "common", verdict: "pass", text: "all alike" }] },
    { category: "cpu", name: "Acceleration", verdict: "not-applicable", checks: [] },
  ],
};

describe("the page of a validation", () => {
  const page = validationPage(report);

  it("needs nothing from outside, and lets no host's name become markup", () => {
    assert.doesNotMatch(page, /<script|<link|<img|src=|https?:/);
    assert.match(page, /&lt;script&gt;alert/);
    assert.match(page, /default-src 'none'/);
  });

  it("has every test with its result and what to do, the bad ones open", () => {
    for (const { name } of report.tests) assert.ok(page.includes(name));
    assert.match(page, /<details open><summary><span class="v fail">Failed<\/span> Redundancy/);
    assert.match(page, /<details><summary><span class="v pass">Passed<\/span> Common CPU/);
    assert.match(page, /Not applicable/);
    assert.match(page, /connect &lt;script/);
  });

  it("says the same in the terminal", () => {
    assert.match(validationTable(report), /network\s+Redundancy\s+fail\s+1/);
    assert.match(validationTable(report), /FAIL Redundancy/);
  });
});

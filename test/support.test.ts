import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { terminalSvg } from "../scripts/terminal-svg.ts";
import { examplesOf } from "./support/examples.ts";

describe("examples in documents", () => {
  it("are run when their fence says so, and named files are written for them", () => {
    const text = ["```sh run", "a", "b", "```", "```", "not", "```", "```yaml x.yaml", "k: v", "```", "```sh", "nor this", "```"].join(
      "\n",
    );
    const { scripts, files } = examplesOf(text);
    assert.deepEqual([scripts, [...files]], [["a\nb\n"], [["x.yaml", "k: v\n"]]]);
  });
});

describe("the picture of a terminal", () => {
  it("holds every line, escaped, long ones in pieces", () => {
    const svg = terminalSvg("$ a <b> & c\n12345678901234\n\nlast\n", { columns: 12, title: 't "q"' });
    const texts = [...svg.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);
    assert.deepEqual(texts, ["$ a &lt;b&gt; &amp; c", "123456789012", "34", "last"]);
    assert.match(svg, /<title>t &quot;q&quot;<\/title>/);
  });
});

import type { TestEvent } from "node:test/reporters";

/** Writes one JSON line for each finished test (suites left out), for `scripts/test.ts` to count. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { data } = event;
    // The file that was run: a test of a shared contract is written in another. Of the file itself node
    // reports, without it, that it failed, or passed without a test.
    const { entryFile } = data as { readonly entryFile?: string };
    if (data.details.type === "suite" || (entryFile === undefined && event.type === "test:pass")) continue;
    const outcome = data.skip || data.todo ? "skip" : event.type === "test:pass" ? "pass" : "fail";
    yield `${JSON.stringify({ outcome, name: data.name, file: entryFile ?? data.file ?? data.name })}\n`;
  }
}

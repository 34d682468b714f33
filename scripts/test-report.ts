import type { TestEvent } from "node:test/reporters";

/** Writes one JSON line for each finished test (suites left out), for `scripts/test.ts` to count. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { data } = event;
    if (data.details.type === "suite" || data.file === undefined) continue;
    const outcome = data.skip || data.todo ? "skip" : event.type === "test:pass" ? "pass" : "fail";
    yield `${JSON.stringify({ outcome, name: data.name, file: data.file })}\n`;
  }
}

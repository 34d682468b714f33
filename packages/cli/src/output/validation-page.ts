import type { ValidationReport, ValidationTest } from "@godwit/api";

/** What hosts and guests named may not become markup. */
function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}

const names: Readonly<Record<ValidationTest["verdict"], string>> = {
  pass: "Passed",
  warn: "Warning",
  fail: "Failed",
  "not-applicable": "Not applicable",
};

const style = `body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c1c1c;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;text-transform:capitalize}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #ddd;overflow-wrap:anywhere}
details{margin:.4rem 0}summary{cursor:pointer;font-weight:600}
.v{display:inline-block;min-width:8.2em;font-weight:600}.pass{color:#186a1b}.warn{color:#8a5300}.fail{color:#b00020}.not-applicable{color:#5a5a5a}
@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}th,td{border-color:#3a3a3a}.pass{color:#7fd483}.warn{color:#f0b45a}.fail{color:#ff8a93}.not-applicable{color:#a8a8a8}}`;

/** A validation report as one page of HTML that needs nothing else: no script, no font, no image. */
export function validationPage(report: ValidationReport): string {
  const categories = [...new Set(report.tests.map(({ category }) => category))];
  const sections = categories.map((category) => {
    const tests = report.tests.filter((test) => test.category === category);
    return `<section><h2>${escape(category)}</h2>${tests.map(testHtml).join("")}</section>`;
  });
  const title = `Cluster validation of ${report.hosts.join(", ")}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escape(title)}</title><style>${style}</style></head>
<body><h1>${escape(title)}</h1>
<p>${verdictHtml(report.verdict)} <span>${escape(report.startedAt)} to ${escape(report.endedAt)}</span></p>
${sections.join("\n")}
</body></html>
`;
}

function testHtml({ name, verdict, checks }: ValidationTest): string {
  const rows = checks.map(
    ({ id, verdict, text, remedy }) =>
      `<tr><td>${verdictHtml(verdict)}</td><td>${escape(id)}</td><td>${escape(text)}</td><td>${remedy === undefined ? "" : escape(remedy)}</td></tr>`,
  );
  const open = verdict === "fail" || verdict === "warn" ? " open" : "";
  const head = "<thead><tr><th>Result</th><th>What</th><th>Found</th><th>What to do</th></tr></thead>";
  const table = rows.length > 0 ? `<table>${head}<tbody>${rows.join("")}</tbody></table>` : "<p>There was nothing to test.</p>";
  return `<details${open}><summary>${verdictHtml(verdict)} ${escape(name)}</summary>${table}</details>`;
}

function verdictHtml(verdict: ValidationTest["verdict"]): string {
  return `<span class="v ${verdict}">${names[verdict]}</span>`;
}

/** The examples of a Markdown document that are meant to be run. */
export interface Examples {
  /** Shell blocks whose fence says `sh run`, in order. */
  readonly scripts: readonly string[];
  /** Blocks whose fence names a file, such as `yaml cluster.yaml`. */
  readonly files: ReadonlyMap<string, string>;
}

export function examplesOf(markdown: string): Examples {
  const scripts: string[] = [];
  const files = new Map<string, string>();
  for (const [, language, label, body = ""] of markdown.matchAll(/^```(\w+) ([\w.]+)\n(.*?)^```$/gms)) {
    if (language === "sh" && label === "run") scripts.push(body);
    else if (label !== undefined) files.set(label, body);
  }
  return { scripts, files };
}

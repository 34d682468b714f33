import { GodwitError, toError } from "@godwit/core";
import { XMLParser, XMLValidator } from "fast-xml-parser";

/** A document that is not what libvirt writes. The message names the element. */
export class XmlError extends GodwitError<"xml"> {
  override readonly name = "XmlError";
  constructor(message: string, options?: ErrorOptions) {
    super("xml", message, {}, options);
  }
}

/** libvirt's own limit of a string on the wire (REMOTE_STRING_MAX). */
const MAX_CHARACTERS = 4 << 20;
const MAX_DEPTH = 64;
const ATTRIBUTES = "@";
const TEXT = "#";

type RawNode = string | { readonly [name: string]: unknown };

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "",
  attributesGroupName: ATTRIBUTES,
  textNodeName: TEXT,
  parseTagValue: false,
  parseAttributeValue: false,
  // Blanks at the ends of a name or path belong to it.
  trimValues: false,
  // Entities are decoded here, in one pass over what is read, so that nothing can be expanded twice.
  processEntities: false,
  ignoreDeclaration: true,
  ignorePiTags: true,
  maxNestedTags: MAX_DEPTH,
  isArray: (_name, _path, _isLeaf, isAttribute) => !isAttribute,
  // Free-form and of any size; nobody here reads it.
  stopNodes: ["domain.metadata"],
});

/**
 * Reads a whole, well-formed document whose root is `root`. Throws {@link XmlError}; never anything else.
 * Documents with a DOCTYPE are refused, longer ones than 4 Mi characters too.
 */
export function parseDocument(text: string, root: string): XmlElement {
  if (text.length > MAX_CHARACTERS)
    throw new XmlError(`<${root}>: ${text.length} characters are more than the ${MAX_CHARACTERS} that libvirt sends`);
  if (/<!DOCTYPE/i.test(text)) throw new XmlError(`<${root}>: has a DOCTYPE, which libvirt never writes`);
  const node = read(text, root)[root];
  if (!Array.isArray(node) || node.length !== 1) throw new XmlError(`<${root}>: the document has another root`);
  return new XmlElement(root, node[0] as RawNode);
}

function read(text: string, root: string): Record<string, unknown> {
  const verdict = XMLValidator.validate(text);
  if (verdict !== true) throw new XmlError(`<${root}>: line ${verdict.err.line}: ${verdict.err.msg}`);
  try {
    return parser.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new XmlError(`<${root}>: cannot be read`, { cause: toError(error) });
  }
}

/** One element. What it does not know of its children does no harm. */
export class XmlElement {
  /** From the root, for messages: `domain/devices/disk`. */
  readonly path: string;
  readonly #node: RawNode;

  constructor(path: string, node: RawNode) {
    this.path = path;
    this.#node = node;
  }

  /** In the order of the document. */
  children(name: string): XmlElement[] {
    const found = typeof this.#node === "string" || !Object.hasOwn(this.#node, name) ? undefined : this.#node[name];
    return Array.isArray(found) ? found.map((node) => new XmlElement(`${this.path}/${name}`, node as RawNode)) : [];
  }

  /** The first child of that name, by names down the tree. */
  child(...names: readonly string[]): XmlElement | undefined {
    return names.reduce<XmlElement | undefined>((at, name) => at?.children(name)[0], this);
  }

  need(name: string): XmlElement {
    const child = this.child(name);
    if (!child) throw new XmlError(`<${this.path}>: has no <${name}>`);
    return child;
  }

  has(name: string): boolean {
    return this.child(name) !== undefined;
  }

  /** Undefined when it is absent or empty. */
  attribute(name: string): string | undefined {
    const all = typeof this.#node === "string" ? undefined : this.#node[ATTRIBUTES];
    if (typeof all !== "object" || all === null || !Object.hasOwn(all, name)) return undefined;
    const value = (all as Record<string, unknown>)[name];
    return typeof value === "string" && value !== "" ? decode(value) : undefined;
  }

  /** Its own text, without that of its children. */
  get text(): string {
    const text = typeof this.#node === "string" ? this.#node : this.#node[TEXT];
    return typeof text === "string" && text.trim() !== "" ? decode(text) : "";
  }

  /** The text of a child; undefined when there is none, or nothing in it. */
  textOf(...names: readonly string[]): string | undefined {
    return this.child(...names)?.text || undefined;
  }

  needText(name: string): string {
    const text = this.need(name).text;
    if (text === "") throw new XmlError(`<${this.path}/${name}>: is empty`);
    return text;
  }

  /** A whole number that is not negative. */
  get count(): number {
    return toCount(this.text, `<${this.path}>`);
  }

  /** A size in bytes; `unit` counts where the element names none. */
  bytes(unit: "bytes" | "KiB"): number {
    const factor = factorOf(this.attribute("unit") ?? unit);
    if (factor === undefined) throw new XmlError(`<${this.path}>: unit ${JSON.stringify(this.attribute("unit"))} is unknown`);
    const bytes = toCount(this.text, `<${this.path}>`) * factor;
    if (!Number.isSafeInteger(bytes)) throw new XmlError(`<${this.path}>: ${this.text} is too large`);
    return bytes;
  }

  /** As {@link bytes} for storage, of which some says that it has no end (8 EiB and more): that is the most we can count. */
  get room(): number {
    const endless = /^\d{16,20}$/.test(this.text) && factorOf(this.attribute("unit") ?? "bytes") === 1;
    return endless ? Math.min(Number(this.text), Number.MAX_SAFE_INTEGER) : this.bytes("bytes");
  }
}

function toCount(text: string, where: string): number {
  const value = /^\s*\d{1,16}\s*$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new XmlError(`${where}: ${JSON.stringify(text.slice(0, 40))} is not a count`);
  return value;
}

/** libvirt's scaled integers: a letter or `iB` counts in 1024, `B` behind a letter in 1000. */
function factorOf(unit: string): number | undefined {
  if (/^(b|bytes?)$/i.test(unit)) return 1;
  const match = /^([kmgtpe])(ib|b)?$/i.exec(unit);
  if (!match) return undefined;
  const power = "kmgtpe".indexOf(match[1]!.toLowerCase()) + 1;
  return (match[2]?.toLowerCase() === "b" ? 1000 : 1024) ** power;
}

const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** The five entities of XML and character references. Anything else stays as it is written. */
function decode(text: string): string {
  if (!text.includes("&")) return text;
  return text.replaceAll(
    /&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(amp|lt|gt|quot|apos));/gi,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return named[name] ?? whole;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code > 0 && code <= 0x10_ffff ? String.fromCodePoint(code) : whole;
    },
  );
}

/** A part of an argument before a sign: `DISK=IMAGE`. A path that has the sign itself is written `./a=b`. */
export function splitAssignment(text: string): { readonly name: string | undefined; readonly value: string } {
  const match = /^([A-Za-z0-9_.-]+)=(.+)$/s.exec(text);
  return match && !match[1]!.startsWith(".") ? { name: match[1], value: match[2]! } : { name: undefined, value: text };
}

/** `POINT[:DISK]`; the last colon counts. */
export function splitPoint(text: string): { readonly point: string; readonly disk: string | undefined } {
  const colon = text.lastIndexOf(":");
  if (colon <= 0 || colon === text.length - 1) return { point: text, disk: undefined };
  return { point: text.slice(0, colon), disk: text.slice(colon + 1) };
}

export function isNbdUri(text: string): boolean {
  return /^nbds?(?:\+unix)?:\/\//i.test(text);
}

export const shortId = (id: string): string => id.slice(0, 12);

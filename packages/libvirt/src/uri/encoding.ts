import { UriError } from "./errors.ts";

/** Decodes `%xx` as strict UTF-8; control characters have no place in any part of a libvirt URI. */
export function percentDecode(part: string, text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch (error) {
    throw new UriError("syntax", part, `${JSON.stringify(text)} is not percent-encoded UTF-8; write a literal % as %25`, { cause: error });
  }
  if (hasControlCharacter(decoded)) throw new UriError("syntax", part, "contains a control character; remove it");
  return decoded;
}

export function hasControlCharacter(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

/** Encodes what would end or change the part; keeps what people write literally there (`/`, `:`, `,`, `=`). */
export function encodePath(path: string): string {
  return encodeURIComponent(path).replaceAll(/%(2F|3A|2C|3D|40|2B|24)/g, (escaped) => decodeURIComponent(escaped));
}

export function encodeParameter(text: string): string {
  return encodeURIComponent(text).replaceAll(/%(2F|3A|2C)/g, (escaped) => decodeURIComponent(escaped));
}

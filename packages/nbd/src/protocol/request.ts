import { malformed } from "../error.ts";
import { setU64, getU64, viewOf } from "./bytes.ts";
import { COMMAND, type CommandName, COMMAND_FLAG, EXTENDED_HEADER_LENGTH, MAGIC, REQUEST_LENGTH } from "./constants.ts";

/** A request without its payload. */
export interface RequestHeader {
  readonly flags: number;
  readonly type: number;
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly offset: number;
  /** Of the payload, if there is one, else of the range. */
  readonly length: number;
}

const commandNames = new Map<number, CommandName>(Object.entries(COMMAND).map(([name, value]) => [value, name as CommandName]));

export function commandName(type: number): CommandName | undefined {
  return commandNames.get(type);
}

export function requestLength(extended: boolean): number {
  return extended ? EXTENDED_HEADER_LENGTH : REQUEST_LENGTH;
}

export function encodeRequest(into: Uint8Array, header: RequestHeader, extended: boolean): void {
  const view = viewOf(into);
  view.setUint32(0, extended ? MAGIC.extendedRequest : MAGIC.request);
  view.setUint16(4, header.flags | (extended && header.type === COMMAND.write ? COMMAND_FLAG.payloadLength : 0));
  view.setUint16(6, header.type);
  view.setUint32(8, header.cookieHigh);
  view.setUint32(12, header.cookieLow);
  setU64(view, 16, header.offset);
  if (extended) setU64(view, 24, header.length);
  else view.setUint32(24, header.length);
}

export function decodeRequest(bytes: Uint8Array, extended: boolean): RequestHeader {
  const view = viewOf(bytes);
  const magic = view.getUint32(0);
  if (magic !== (extended ? MAGIC.extendedRequest : MAGIC.request)) {
    throw malformed(`a request starts with 0x${magic.toString(16)}, which is no request`);
  }
  return {
    flags: view.getUint16(4),
    type: view.getUint16(6),
    cookieHigh: view.getUint32(8),
    cookieLow: view.getUint32(12),
    offset: getU64(view, 16),
    length: extended ? getU64(view, 24) : view.getUint32(24),
  };
}

import type { Transport } from "../src/transport/transport.ts";

/** One hand-written call (AUTH_LIST, procedure 66) proves that libvirt's RPC is at the other end of a channel. */
export async function authTypes({ stream }: Transport): Promise<readonly number[]> {
  const frame = Buffer.alloc(28);
  for (const [index, word] of [28, 0x20008086, 1, 66, 0, 1, 0].entries()) frame.writeUInt32BE(word, index * 4);
  stream.write(frame);
  const reply = await readFrame(stream);
  const count = reply.readUInt32BE(28);
  return Array.from({ length: count }, (_, index) => reply.readUInt32BE(32 + 4 * index));
}

async function readFrame(stream: Transport["stream"]): Promise<Buffer> {
  let seen = Buffer.alloc(0);
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    seen = Buffer.concat([seen, chunk as Buffer]);
    if (seen.length >= 4 && seen.length >= seen.readUInt32BE(0)) return seen;
  }
  throw new Error(`the channel ended after ${seen.length} bytes`);
}

import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Asked {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Announce so many bytes, and hang up after `body`. */
  readonly cutAfter?: number;
}

export interface HttpStub extends AsyncDisposable {
  readonly endpoint: string;
  readonly asked: Asked[];
}

/** A server that answers as told, and remembers what it was asked. */
export async function startStub(answer: (asked: Asked) => Answer): Promise<HttpStub> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const one = { method, url, headers, body: Buffer.concat(chunks).toString() };
      asked.push(one);
      respond(response, answer(one));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function respond(response: ServerResponse, { status, headers, body = "", cutAfter }: Answer): void {
  const length = cutAfter ?? Buffer.byteLength(body);
  response.writeHead(status, { "content-length": String(length), ...headers });
  if (cutAfter === undefined) response.end(body);
  else response.write(body, () => response.socket?.destroy());
}

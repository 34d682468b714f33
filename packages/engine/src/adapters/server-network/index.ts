import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { abortReason } from "@godwit/core";
import type { ServerNetwork } from "../../ports/server-network.ts";

const probeMs = 2000;

/** The network of this very machine. */
export const systemNetwork: ServerNetwork = {
  addresses: () =>
    Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
      addresses.flatMap(({ address, internal }) => (internal ? [] : [{ interface: name, address }])),
    ),
  probe: (from, to, port, { signal }) => {
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    const socket = connect({ host: to, port, localAddress: from, timeout: probeMs });
    const onAbort = (): void => reject(abortReason(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    socket.once("connect", () => resolve(undefined));
    socket.once("timeout", () => resolve(`no answer within ${probeMs / 1000} s`));
    socket.once("error", ({ code, message }: NodeJS.ErrnoException) => resolve(code === "ECONNREFUSED" ? undefined : (code ?? message)));
    return promise.finally(() => {
      signal.removeEventListener("abort", onAbort);
      socket.on("error", () => undefined).destroy();
    });
  },
};

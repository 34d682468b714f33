import { readFile } from "node:fs/promises";
import ssh2, { type AnyAuthMethod, type AuthHandlerMiddleware, type IdentityCallback, type ParsedKey } from "ssh2";
import { SshError } from "./errors.ts";
import { fingerprint } from "./known-hosts.ts";
import type { KeyFile, SshTarget } from "./target.ts";

/** How to log in, step by step, and what became of it: the log goes into the error when the server takes nothing. */
export interface Authentication {
  readonly handler: AuthHandlerMiddleware;
  /** For messages: `agent /run/agent.sock`, `/root/.ssh/id_rsa is encrypted…`. Never a secret. */
  readonly log: readonly string[];
  /** Called with what ssh2 reports about one step before it goes on to the next. */
  note(problem: string): void;
}

interface Step {
  readonly name: string;
  readonly method: AnyAuthMethod;
}

export interface Secrets {
  readonly passphrase?: string | undefined;
  readonly password?: string | undefined;
}

/** Reads the keys. Throws `config` when a key that somebody named cannot be used. */
export async function prepareAuthentication(target: SshTarget, secrets: Secrets): Promise<Authentication> {
  const log: string[] = [];
  const steps: Step[] = [];
  for (const method of target.methods) {
    switch (method) {
      case "agent":
        steps.push(...(await agentSteps(target, log)));
        break;
      case "privkey":
        steps.push(...(await keySteps(target, secrets, log)));
        break;
      case "password":
        if (secrets.password === undefined) log.push("password: none given");
        else steps.push({ name: "password", method: { type: "password", username: target.user, password: secrets.password } });
        break;
      case "keyboard-interactive":
        log.push("keyboard-interactive: not supported, there is nobody to ask");
        break;
    }
  }
  let next = 0;
  return {
    log,
    note: (problem) => log.push(problem),
    handler: (_methodsLeft, _partialSuccess, callback) => {
      const step = steps[next];
      next += 1;
      if (step) log.push(step.name);
      // ssh2 takes false for "nothing more to try"; its types leave that out.
      callback((step?.method ?? false) as AnyAuthMethod);
    },
  };
}

async function agentSteps(target: SshTarget, log: string[]): Promise<readonly Step[]> {
  const socket = target.agentSocket;
  if (socket === undefined) {
    log.push("agent: none (SSH_AUTH_SOCK is not set)");
    return [];
  }
  const agent = target.identitiesOnly ? new SelectiveAgent(socket, await publicKeys(target.keyFiles)) : new ssh2.OpenSSHAgent(socket);
  return [{ name: `agent ${socket}`, method: { type: "agent", username: target.user, agent } }];
}

async function keySteps(target: SshTarget, { passphrase }: Secrets, log: string[]): Promise<readonly Step[]> {
  const steps: Step[] = [];
  for (const file of target.keyFiles) {
    const key = await readKey(file, passphrase, log);
    if (key) {
      const name = `key ${file.path} (${key.type} ${fingerprint(key.getPublicSSH())})`;
      steps.push({ name, method: { type: "publickey", username: target.user, key } });
    }
  }
  return steps;
}

async function readKey({ path, required }: KeyFile, passphrase: string | undefined, log: string[]): Promise<ParsedKey | undefined> {
  const unusable = (reason: string, cause?: unknown): undefined => {
    if (required) throw new SshError("config", `private key ${path}: ${reason}`, { path }, cause === undefined ? undefined : { cause });
    log.push(`key ${path}: ${reason}`);
  };
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return unusable(missing ? "does not exist" : "cannot be read; check its permissions", missing ? undefined : error);
  }
  const parsed = ssh2.utils.parseKey(content, passphrase);
  if (parsed instanceof Error) {
    if (/encrypted|passphrase|decrypt|integrity/i.test(parsed.message)) {
      return unusable(
        passphrase === undefined ? "is encrypted; pass its passphrase, or load it into ssh-agent" : "the passphrase does not open it",
      );
    }
    return unusable("is not a private key that we understand; use an OpenSSH or PEM key", parsed);
  }
  const key: ParsedKey | undefined = Array.isArray(parsed) ? (parsed as ParsedKey[])[0] : parsed;
  return key?.isPrivateKey() ? key : unusable("is a public key; name the private one");
}

async function publicKeys(files: readonly KeyFile[]): Promise<readonly Buffer[]> {
  const texts = await Promise.all(files.map(({ path }) => readFile(`${path}.pub`, "utf8").catch(() => "")));
  return texts.map((text) => Buffer.from(text.split(" ")[1] ?? "", "base64"));
}

/** An agent that offers only some of its keys (IdentitiesOnly). */
class SelectiveAgent extends ssh2.OpenSSHAgent {
  readonly #allowed: readonly Buffer[];

  constructor(socket: string, allowed: readonly Buffer[]) {
    super(socket);
    this.#allowed = allowed;
  }

  override getIdentities(callback: IdentityCallback<ParsedKey>): void {
    super.getIdentities((error, keys) => {
      if (error || !keys) return callback(error ?? undefined, keys ?? []);
      const allowed = (keys as readonly ParsedKey[]).filter((key) => this.#allowed.some((blob) => blob.equals(key.getPublicSSH())));
      return callback(undefined, allowed);
    });
  }
}

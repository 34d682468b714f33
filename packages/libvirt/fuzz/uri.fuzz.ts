import { formatUri, parseUri, UriError } from "../src/uri/index.ts";

const pieces =
  "qemu test remote + ssh tls unix :// / ? & ; = @ : [ ] % %25 %00 %ff %zz # host ::1 fe80::1%25lo 0 65536 16509 system socket=/s name= mode=auto no_verify=1 proxy=native known_hosts_verify=ignore - . é 😀 \ud800 \n \0".split(
    " ",
  );

/** Hostile URI texts: nothing but {@link UriError} may be thrown, and what is accepted must survive format and parse. */
export async function fuzz({ seconds, seed }: { seconds: number; seed: number }): Promise<{ cases: number }> {
  const random = generator(seed);
  const until = performance.now() + seconds * 1000;
  let cases = 0;
  for (; performance.now() < until; cases += 1) {
    const text = Array.from({ length: random(14) + 1 }, () => pieces[random(pieces.length)]).join("");
    check(random(3) === 0 ? `qemu+ssh://${text}` : text);
  }
  return { cases };
}
export default fuzz;

function check(text: string): void {
  try {
    const uri = parseUri(text);
    const again = parseUri(formatUri(uri));
    if (JSON.stringify(again) !== JSON.stringify(uri)) throw new Error(`not stable: ${JSON.stringify(text)}`);
    if (/[\s\p{Cc}]/u.test(uri.driverUri) && uri.connection.name === undefined)
      throw new Error(`driver URI is not clean: ${JSON.stringify(text)}`);
  } catch (error) {
    if (!(error instanceof UriError)) throw new Error(`case ${JSON.stringify(text)}`, { cause: error });
  }
}

function generator(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** `*` is any text, `?` one character. Takes at most length × length steps, whatever the pattern. */
export function matchesGlob(text: string, pattern: string): boolean {
  let [at, next] = [0, 0];
  // Where the last star was, and up to where it has swallowed the text.
  let star = -1;
  let swallowed = 0;
  while (at < text.length) {
    if (pattern[next] === "*") {
      star = next;
      swallowed = at;
      next += 1;
    } else if (next < pattern.length && (pattern[next] === "?" || pattern[next] === text[at])) {
      at += 1;
      next += 1;
    } else if (star >= 0) {
      swallowed += 1;
      at = swallowed;
      next = star + 1;
    } else return false;
  }
  while (pattern[next] === "*") next += 1;
  return next === pattern.length;
}

/** The same for many texts: those that begin otherwise are told apart at once. */
export function compileGlob(pattern: string): (text: string) => boolean {
  const prefix = pattern.slice(0, pattern.search(/[*?]|$/));
  return (text) => text.startsWith(prefix) && matchesGlob(text, pattern);
}

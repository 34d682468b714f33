export { openLocalShell } from "./local-shell.ts";
export { shellOf } from "./shell-of.ts";
export { openSshShell, type SshShellOptions } from "./ssh-shell.ts";

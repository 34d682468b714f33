/** The beginning of all checkpoints' names of one vault, so that strays are known as ours and of which vault. */
export function checkpointPrefix(vaultId: string): string {
  return `godwit-${vaultId.slice(0, 8)}-`;
}

export function checkpointName(vaultId: string, moment: string): string {
  return `${checkpointPrefix(vaultId)}${moment}`;
}

/** What an admin may call a vault or a group. */
export const givenName = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/;

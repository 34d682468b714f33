import { canonicalJson, describeError } from "@godwit/core";
import { type GroupDraft, newGroup } from "../protection/groups/draft.ts";
import type { ProtectionGroup } from "../protection/groups/model.ts";
import type { Draft } from "./draft.ts";
import type { GroupsSection } from "./schema.ts";

/** What to do with groups; whole drafts, by name. */
export interface GroupWork {
  readonly create: readonly GroupDraft[];
  readonly replace: readonly GroupDraft[];
  /** Names. */
  readonly remove: readonly string[];
}

interface Context {
  readonly groups: readonly ProtectionGroup[];
  readonly vaults: readonly { readonly id: string; readonly name: string }[];
  /** Groups that the file does not have go. */
  readonly prune: boolean;
}

/** A group in the file is whole: what it leaves out is as in a new group. Removing one deletes no point. */
export function planGroups(section: GroupsSection, { groups, vaults, prune }: Context, draft: Draft): GroupWork {
  const work = { create: [] as GroupDraft[], replace: [] as GroupDraft[], remove: [] as string[] };
  const wanted = section.groups ?? [];
  for (const [index, one] of wanted.entries()) {
    const path = ["protection", "groups", index];
    if (wanted.findIndex(({ name }) => name === one.name) < index) draft.problem([...path, "name"], `there is a group '${one.name}' above`);
    const before = groups.find(({ name }) => name === one.name);
    const vault = vaults.find(({ id, name }) => id === one.vault || name === one.vault);
    if (!vault) {
      draft.problem([...path, "vault"], `no vault '${one.vault}' is registered: 'godwit vault-location add' registers one`);
      continue;
    }
    try {
      const after = newGroup(one, { id: before?.id ?? "new", vaultId: vault.id, createdAt: before?.createdAt ?? "" });
      if (!before) {
        draft.change("add", path, `protection group ${one.name}`, { after: one });
        work.create.push(one);
      } else if (canonicalJson(before) !== canonicalJson(after)) {
        draft.change("change", path, `protection group ${one.name}`, { before, after });
        work.replace.push(one);
      }
    } catch (error) {
      draft.problem(path, describeError(error));
    }
  }
  for (const { name } of prune && section.groups ? groups : []) {
    if (wanted.some((one) => one.name === name)) continue;
    draft.change("remove", ["protection", "groups"], `protection group ${name}`);
    work.remove.push(name);
  }
  return work;
}

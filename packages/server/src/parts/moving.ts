import { systemClock } from "@godwit/core";
import { type Inventory, type JobRunner, Maintenance, type Networks, type Store } from "@godwit/engine";
import type { Logger } from "pino";
import { type MigrationGenerationId, type MigrationPart, migrationPart, type MigrationRules } from "./migration.ts";
import { type PlacementPart, placementPart } from "./placement.ts";
import { type ValidationPart, validationPart } from "./validation.ts";

export interface MovingNeeds {
  readonly store: Store;
  readonly log: Logger;
  readonly inventory: Inventory;
  readonly networks: Networks;
  /** There once the first job runs. */
  readonly jobs: () => JobRunner;
}

export interface MovingParts {
  readonly migration: MigrationPart;
  readonly placement: PlacementPart;
  readonly validation: ValidationPart;
}

/** Migration, what decides where to, and what tests whether it would work: each of them needs another one. */
export function movingParts(needs: MovingNeeds): MovingParts {
  const { store, inventory, networks, jobs } = needs;
  const maintenance = new Maintenance({ store, clock: systemClock });
  const rules: MigrationRules = (input, kind, arriving) => placement.placements.checks(input, kind, arriving);
  const lacksGenerationId: MigrationGenerationId = (input) => placement.placements.lacksGenerationId(input);
  const migration = migrationPart(inventory, networks, { jobs, rules, lacksGenerationId });
  const { migrations } = migration;
  const placement = placementPart({ ...needs, maintenance, migrations });
  return { migration, placement, validation: validationPart({ inventory, networks, migrations, jobs }) };
}

/** What a deployment does besides: forgets what nobody asks for any more, and checks old documents against the schema. */
import type { Deployment } from "./deployment.ts";
import { SetupError } from "./errors.ts";
import { SCHEDULED, SESSIONS, type Namespace, type Table, type Tables } from "./tables.ts";
import { mismatch } from "./validators.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** How long the documents of scheduled functions stay after their end. */
const SCHEDULED_MS = 7 * DAY_MS;
/** How long a socket's client may take to repeat a request. */
const SESSIONS_MS = DAY_MS;
const BATCH = 1000;

export class Upkeep {
  private readonly deployment: Deployment;
  private timer: NodeJS.Timeout | undefined;

  constructor(deployment: Deployment) {
    this.deployment = deployment;
  }

  async start(): Promise<void> {
    await this.forget();
    this.timer = setInterval(() => void this.forget(), HOUR_MS).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private async forget(): Promise<void> {
    const { tables } = this.deployment.database;
    for (const namespace of tables.all())
      await this.removeOld(namespace.table(SCHEDULED), "completedTime", SCHEDULED_MS);
    await this.removeOld(tables.namespace("").table(SESSIONS), "_creationTime", SESSIONS_MS);
  }

  private async removeOld(table: Table, field: string, keptMs: number): Promise<void> {
    const oldest = Date.now() - keptMs;
    for (;;) {
      const old: string[] = [];
      for (const { id, value } of table.byId.documents.values()) {
        const time = value[field];
        if (typeof time === "number" && time < oldest) old.push(id);
        if (old.length === BATCH) break;
      }
      if (old.length === 0) return;
      await this.deployment.transact((transaction) => old.forEach((id) => transaction.putSystem(table, id, null)));
    }
  }
}

/**
 * Checks the documents that are there, as a deployment does when a schema is pushed.
 *
 * Raises:
 *   SetupError: One does not match.
 */
export function checkDocuments(tables: Tables): void {
  for (const namespace of tables.all()) {
    for (const table of namespace.all()) checkTable(namespace, table);
  }
}

function checkTable(namespace: Namespace, table: Table): void {
  const validator = table.definition?.validator ?? null;
  if (validator === null) return;
  for (const { id, value } of table.byId.documents.values()) {
    const { _id, _creationTime, ...fields } = value;
    const found = mismatch(validator, fields, (name, candidate) => namespace.owns(name, candidate));
    if (found !== null) {
      throw new SetupError(
        `Schema validation failed: document "${id}" in table "${table.name}" does not match the schema: ${found}`,
      );
    }
  }
}

/** Purge: ended runs go with everything of theirs, as much as one transaction can delete. */
import { makeFunctionReference } from "convex/server";
import { internalMutation, type Doc, type Key, type Writer } from "./functions";
import { keptSize } from "./payloads";
import { sweep as sweepRecords } from "./records";
import { Tx } from "./rows";
import type { PurgeQuery } from "./values";

/** What one transaction deletes, in units of a document or 4 KiB; each is read twice, and 16 MiB is the limit. */
const DELETE_MAX = 1_000;
const UNIT_BYTES = 4096;
/** Ended runs that one purge looks at. */
const LOOK_MAX = 2_000;

type Run = Doc<"runs">;
type Owned = "journal" | "stamps" | "messages" | "values" | "streams" | "parts" | "requests" | "labels" | "payloads";

const TABLES: readonly [Owned, string][] = [
  ["payloads", "by_key"],
  ["journal", "by_position"],
  ["stamps", "by_commit"],
  ["messages", "by_seq"],
  ["values", "by_name"],
  ["streams", "by_offset"],
  ["parts", "by_hash"],
  ["requests", "by_request"],
  ["labels", "by_key"],
];

interface Scheduler {
  runAfter(delayMs: number, what: ReturnType<typeof sweepReference>, args: Record<string, never>): Promise<unknown>;
}

function sweepReference() {
  return makeFunctionReference<"mutation", Record<string, never>, null>("purging:sweep");
}

/** See `Store.purge`. A run vanishes at once; what it had may take more transactions, which are scheduled. */
export async function purge(tx: Tx, scheduler: Scheduler, query: PurgeQuery): Promise<number> {
  const going = await candidates(tx, query);
  let room = DELETE_MAX;
  let purged = 0;
  let highest = 0;
  for (const run of going) {
    if (room <= 0) break;
    const row = await tx.row(run.id);
    if (row === null) continue;
    highest = Math.max(highest, row.task.epoch);
    await Promise.all([tx.db.delete(row.taskId), tx.db.delete(run._id)]);
    tx.forget(run.id);
    purged += 1;
    room -= 2 + (await deleteOwned(tx.db, run._id, room));
    if (room <= 0) await tx.db.insert("graves", { key: run._id });
  }
  if (purged > 0) await raiseTide(tx, highest);
  if (room <= 0) await scheduler.runAfter(0, sweepReference(), {});
  await sweepRecords(tx);
  return purged;
}

async function raiseTide(tx: Tx, epoch: number): Promise<void> {
  const tide = await tx.db.query("tide").first();
  if (tide === null) await tx.db.insert("tide", { epochsPurged: epoch });
  else if (epoch > tide.epochsPurged) await tx.db.patch(tide._id, { epochsPurged: epoch });
}

/** Runs that may go, by the index that leaves the least to look at. */
async function candidates(tx: Tx, query: PurgeQuery): Promise<Run[]> {
  const limit = query.limit ?? 100;
  const found: Run[] = [];
  if (query.runs !== undefined && query.runs.length > 0) {
    await tx.preload(query.runs);
    for (const id of new Set(query.runs)) {
      const row = await tx.row(id);
      const run = row === null ? null : await tx.db.get(row.key);
      if (found.length < limit && run !== null && fits(run, query, tx.now)) found.push(run);
    }
    return found;
  }
  const limits = { found: limit, looked: LOOK_MAX };
  for (const rows of ranges(tx, query)) {
    if (limits.found > 0 && limits.looked > 0) await gather(tx, rows, query, limits, found);
  }
  return found;
}

async function gather(
  tx: Tx,
  rows: AsyncIterable<Run>,
  query: PurgeQuery,
  limits: { found: number; looked: number },
  found: Run[],
): Promise<void> {
  for await (const run of rows) {
    limits.looked -= 1;
    if (fits(run, query, tx.now)) {
      found.push(run);
      limits.found -= 1;
    }
    if (limits.found <= 0 || limits.looked <= 0) return;
  }
}

/** The index ranges in which the runs lie, in the order of their ends. */
function ranges(tx: Tx, query: PurgeQuery): AsyncIterable<Run>[] {
  const before = query.ended_before ?? Infinity;
  const { workflow, statuses = [] } = query;
  const runs = () => tx.db.query("runs");
  if (query.expired) {
    return [runs().withIndex("by_expiry", (q) => q.gt("expiresAt", -Infinity).lte("expiresAt", tx.now))];
  }
  if (workflow != null) {
    return [
      runs().withIndex("by_workflow_closed", (q) =>
        q.eq("workflow", workflow).gt("closedAt", -Infinity).lt("closedAt", before),
      ),
    ];
  }
  if (statuses.length === 0) {
    return [runs().withIndex("by_closed", (q) => q.gt("closedAt", -Infinity).lt("closedAt", before))];
  }
  return [...new Set(statuses)].map((status) =>
    runs().withIndex("by_status_closed", (q) =>
      q.eq("status", status).gt("closedAt", -Infinity).lt("closedAt", before),
    ),
  );
}

function fits(run: Run, query: PurgeQuery, now: number): boolean {
  const { closedAt, expiresAt, workflow, status } = run;
  return (
    closedAt !== undefined &&
    (query.ended_before == null || closedAt < query.ended_before) &&
    (!query.expired || (expiresAt !== undefined && expiresAt <= now)) &&
    (query.workflow == null || workflow === query.workflow) &&
    (query.statuses === undefined || query.statuses.length === 0 || query.statuses.includes(status))
  );
}

/** Delete what belongs to a key, at most about `room` units; how many it was. */
async function deleteOwned(db: Writer, key: Key, room: number): Promise<number> {
  let deleted = 0;
  for (const [table, index] of TABLES) {
    const few = table === "payloads" ? FEW : SOME;
    for (let more = true; more && deleted < room;) {
      const docs = await ownedDocs(db, table, index, key, few);
      await Promise.all(docs.map((doc) => db.delete(doc._id)));
      deleted += docs.reduce((sum, doc) => sum + unitsOf(doc), 0);
      more = docs.length === few;
    }
  }
  return deleted;
}

const FEW = 2; // parts of a payload are up to 700 KB each, other documents up to 64 KiB
const SOME = 32;

function unitsOf(doc: Doc<Owned>): number {
  const held = "data" in doc ? doc.data : "payload" in doc ? doc.payload : "";
  return 1 + Math.floor((typeof held === "object" && "parts" in held ? 0 : keptSize(held)) / UNIT_BYTES);
}

async function ownedDocs(db: Writer, table: Owned, index: string, key: Key, few: number): Promise<Doc<Owned>[]> {
  // Every one of these tables has `key` first in this index; the types cannot say so of all of them at once.
  const rows = db.query(table as "labels").withIndex(index as "by_key", (q) => q.eq("key", key));
  return (await rows.take(few)) as Doc<Owned>[];
}

/** What large purged runs have left; it schedules itself until nothing is. */
export const sweep = internalMutation({
  args: {},
  handler: async (ctx): Promise<null> => {
    let room = DELETE_MAX;
    for (const grave of await ctx.db.query("graves").take(SOME)) {
      room -= 1 + (await deleteOwned(ctx.db, grave.key, room));
      if (room <= 0) break;
      await ctx.db.delete(grave._id);
    }
    if ((await ctx.db.query("graves").first()) !== null) {
      await ctx.scheduler.runAfter(0, sweepReference(), {});
    }
    return null;
  },
});

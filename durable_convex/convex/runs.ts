/** How runs come, and the few moves that every operation is made of. */
import { INLINE_RUN, dropped, keep, sizeOf, type Kept } from "./payloads";
import { discardUnread, send } from "./messages";
import { placeOf } from "./places";
import type { Fields } from "./functions";
import type { Row, Tx } from "./rows";
import { CLOSING_LANE, laneKey, type Bytes, type NewRun, type Status } from "./values";

export interface Created {
  outcome: "created" | "existed" | "replaced";
  workflow: string;
  digest: string;
  parent?: Fields<"runs">["parent"];
  generation: number;
  status: Status;
}

export function created(outcome: Created["outcome"], row: Row): Created {
  const { workflow, digest, parent, generation, status } = row.run;
  return { outcome, workflow, digest, parent, generation, status };
}

/** What `Store.create` does to one run. */
export async function create(tx: Tx, asked: NewRun): Promise<Created> {
  const row = await tx.row(asked.id);
  if (row === null) return created("created", await add(tx, asked));
  const replace = asked.replace ?? undefined;
  if (replace === undefined) return created("existed", row);
  if (replace !== row.run.replacedBy) await begunAnew(tx, row, asked, replace);
  return created("replaced", row);
}

/** A child of a commit: one whose id exists is left alone, whatever it asks for. */
export async function child(tx: Tx, asked: NewRun): Promise<Created> {
  const row = await tx.row(asked.id);
  return row === null ? created("created", await add(tx, asked)) : created("existed", row);
}

/** Insert a run: both documents and its labels. Only inserts, so that starters never get in each other's way. */
export async function add(tx: Tx, asked: NewRun): Promise<Row> {
  const parent = asked.parent ?? undefined;
  const priority = asked.priority ?? 0;
  const lane = laneKey(asked.queue, asked.workflow, asked.version);
  const key = await tx.db.insert("runs", {
    id: asked.id,
    place: placeOf(tx.now, asked.id),
    workflow: asked.workflow,
    version: asked.version ?? undefined,
    queue: asked.queue,
    priority,
    status: "pending",
    generation: 1,
    tries: 0,
    seed: asked.seed,
    digest: asked.digest,
    createdAt: tx.now,
    labels: asked.labels ?? [],
    parent,
    parentRun: parent?.run,
    input: "",
    terminated: false,
    closing: false,
    replacedBy: asked.replace ?? undefined,
  });
  const taskId = await tx.db.insert("tasks", {
    run: asked.id,
    key,
    lane,
    rank: 0 - priority,
    dueLane: lane,
    dueAt: tx.now + (asked.delay_seconds ?? 0),
    epoch: 0,
    seq: 0,
    generation: 1,
    position: 0,
    older: 0,
    at: tx.now,
    flushed: [0, 0],
    strikes: 0,
    letters: 0,
    unread: 0,
    unreadSignals: 0,
    bytes: 0,
    waits: [],
  });
  const row = await tx.made(asked.id, key, taskId);
  await setInput(tx, row, asked.input);
  await setOnComplete(tx, row, asked.on_complete);
  await insertLabels(tx, row);
  return row;
}

export async function setInput(tx: Tx, row: Row, input: Bytes): Promise<void> {
  await dropped(tx.db, row.run.input);
  row.run.input = await keep(tx.db, row.key, input, INLINE_RUN);
  row.task.bytes += sizeOf(input);
}

async function setOnComplete(tx: Tx, row: Row, data: Bytes | null | undefined): Promise<void> {
  await dropped(tx.db, row.run.onComplete);
  row.run.onComplete = await kept(tx, row, data);
}

export async function setRewind(tx: Tx, row: Row, order: Bytes | undefined): Promise<void> {
  await dropped(tx.db, row.run.rewind);
  row.run.rewind = await kept(tx, row, order);
}

async function kept(tx: Tx, row: Row, data: Bytes | null | undefined): Promise<Kept | undefined> {
  return data === null || data === undefined ? undefined : await keep(tx.db, row.key, data, INLINE_RUN);
}

async function insertLabels(tx: Tx, row: Row): Promise<void> {
  const { labels, place } = row.run;
  await Promise.all(
    labels.map(([name = "", value = ""]) => tx.db.insert("labels", { key: row.key, name, value, place })),
  );
}

async function setLabels(tx: Tx, row: Row, labels: string[][]): Promise<void> {
  const old = await tx.db
    .query("labels")
    .withIndex("by_key", (q) => q.eq("key", row.key))
    .collect();
  await Promise.all(old.map((label) => tx.db.delete(label._id)));
  row.run.labels = labels;
  await insertLabels(tx, row);
}

export async function hasChildren(tx: Tx, id: string): Promise<boolean> {
  const first = await tx.db
    .query("runs")
    .withIndex("by_parent", (q) => q.eq("parentRun", id))
    .first();
  return first !== null;
}

/** What a start with `if_exists="replace"` does to the run that is there. */
async function begunAnew(tx: Tx, row: Row, asked: NewRun, replace: string): Promise<void> {
  const { run, task } = row;
  takeAway(row);
  await discardUnread(tx, row, "The run was replaced.");
  await dropValues(tx, row);
  run.replacedBy = replace;
  run.closing = run.closing || (await hasChildren(tx, run.id));
  nextGeneration(row);
  run.workflow = asked.workflow;
  run.version = asked.version ?? undefined;
  run.queue = asked.queue;
  run.priority = asked.priority ?? 0;
  task.rank = 0 - run.priority;
  run.digest = asked.digest;
  run.seed = asked.seed;
  run.tries = 0;
  run.startedAt = undefined;
  task.strikes = 0;
  await setInput(tx, row, asked.input);
  await setOnComplete(tx, row, asked.on_complete);
  await setLabels(tx, row, asked.labels ?? []);
  await setRewind(tx, row, undefined);
  clearBlocked(row);
  await revive(tx, row);
  const parent = asked.parent ?? undefined;
  if (run.parent !== undefined && parent !== undefined && run.parent.run === parent.run) run.parent = parent;
  task.dueAt = tx.now + (asked.delay_seconds ?? 0);
}

async function dropValues(tx: Tx, row: Row): Promise<void> {
  const values = tx.db.query("values").withIndex("by_name", (q) => q.eq("key", row.key));
  for (const value of await values.collect()) {
    await dropped(tx.db, value.data);
    await tx.db.delete(value._id);
  }
}

/** An empty journal under the next number; the old one is kept. */
export function nextGeneration(row: Row): void {
  row.run.generation += 1;
  row.task.generation = row.run.generation;
  row.task.older += row.task.position;
  row.task.position = 0;
  row.task.flushed = [0, 0];
  row.task.waits = [];
}

/** PENDING and in its own lane, nothing left of an end. */
export async function revive(tx: Tx, row: Row): Promise<void> {
  const { run, task } = row;
  run.status = "pending";
  await dropped(tx.db, run.outcome);
  run.outcome = undefined;
  run.error = undefined;
  run.endedAt = undefined;
  run.keepSeconds = undefined;
  run.terminated = false;
  task.lane = laneKey(run.queue, run.workflow, run.version);
}

export function clearBlocked(row: Row): void {
  row.run.blocked = undefined;
  row.run.blockedKind = undefined;
  row.run.blockedCall = undefined;
}

export function raiseEpoch(row: Row): void {
  row.task.epoch += 1;
  row.task.seq = 0;
}

/** No owner, fenced out if there was one, and nowhere due. */
export function takeAway(row: Row): void {
  if (row.task.owner !== undefined) raiseEpoch(row);
  row.task.owner = undefined;
  row.task.dueAt = undefined;
}

/** The run rests: a live status, no owner, due then (or not). */
export function hold(row: Row, status: Status, dueAt: number | undefined): void {
  row.task.owner = undefined;
  row.run.status = status;
  row.task.dueAt = dueAt;
}

export interface End {
  status: Status;
  outcome: Bytes;
  error: string | undefined;
  endedAt: number;
  closing: boolean;
}

/** The run has ended; while it is closing it stands in the closing lane, due now. */
export async function end(tx: Tx, row: Row, how: End): Promise<void> {
  const { run, task } = row;
  clearBlocked(row);
  task.owner = undefined;
  run.status = how.status;
  run.outcome = await keep(tx.db, row.key, how.outcome, INLINE_RUN);
  run.error = how.error;
  run.endedAt = how.endedAt;
  run.keepSeconds = undefined;
  task.strikes = 0;
  run.closing = run.closing || how.closing;
  task.lane = CLOSING_LANE;
  task.dueAt = run.closing ? tx.now : undefined;
}

/** The store has ended this run itself, so nobody else would tell. */
export async function tellParent(tx: Tx, row: Row, outcome: Bytes): Promise<void> {
  const { parent, id, generation } = row.run;
  if (parent === undefined || !parent.notify) return;
  const message = {
    run: parent.run,
    id: `result/${id}/${generation}`,
    kind: "result" as const,
    name: parent.call,
    payload: outcome,
    generation: parent.generation,
  };
  await send(tx, message, true);
}

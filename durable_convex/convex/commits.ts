/** The one way in which a worker writes: fence, then apply whole. */
import { append, copyEntries, lengthOf, stamp, stampOf } from "./journal";
import { consume, hasUnreadAfter, send, unconsume } from "./messages";
import { copied, dropped, INLINE_ROW, keep } from "./payloads";
import type { Row, Tx } from "./rows";
import { child, created, end, hold, nextGeneration, setInput, setRewind, type Created } from "./runs";
import { CLOSING_LANE, laneKey, type Bytes, type Commit, type Then } from "./values";

export interface Committed {
  verdict: "applied" | "already_applied" | "lease_lost" | "not_due";
  at: number;
  now: number;
  children: Created[];
}

/** Apply a batch; one that is refused does not touch its neighbours. */
export async function commitAll(tx: Tx, asked: readonly Commit[]): Promise<Committed[]> {
  // A commit that goes on running looks at its run's task alone.
  const light = asked.filter(({ then }) => then === undefined || then.is === "Running").map(({ run }) => run);
  const named = asked.flatMap((one) => [
    ...(light.includes(one.run) ? [] : [one.run]),
    ...(one.children ?? []).map((new_) => new_.id),
    ...(one.messages ?? []).map((message) => message.run),
  ]);
  await Promise.all([tx.preload(named), ...[...new Set(light)].map((id) => tx.light(id))]);
  const answers: Committed[] = [];
  for (const one of asked) answers.push(await commit(tx, one));
  await tx.flush();
  return answers;
}

/**
 * Check the fence, in the order that `Store.commit` gives, and apply. A repeat is recognised before the owner is looked
 * at: the commit that gave the run up has no owner either, and its lost answer must come again as it was.
 */
async function commit(tx: Tx, asked: Commit): Promise<Committed> {
  const refused = { verdict: "lease_lost" as const, at: 0, now: tx.now, children: [] };
  const row = await tx.light(asked.run);
  if (row === null || row.task.epoch !== asked.epoch) return refused;
  if (asked.seq < row.task.seq) {
    const children = [];
    for (const new_ of asked.children ?? []) children.push(await repeatedChild(tx, new_));
    return { verdict: "already_applied", at: await stampOf(tx, row, asked.seq), now: tx.now, children };
  }
  const { task } = row;
  if (task.owner === undefined || asked.seq !== task.seq || asked.position !== task.position) return refused;
  if (asked.then !== undefined && asked.then.is !== "Running") await tx.fill([row]);
  if (!(await may(tx, row, asked))) return refused;
  if (asked.not_before != null && tx.now < asked.not_before) return { ...refused, verdict: "not_due" };
  return await apply(tx, row, asked);
}

/** Whether the run can make this move at all: nothing is appended after an end (I1), no end is left so (I9). */
async function may(tx: Tx, row: Row, asked: Commit): Promise<boolean> {
  const is = asked.then?.is ?? "Running";
  const appends = (asked.append ?? []).length > 0;
  if (row.ended && (appends || (is !== "Running" && is !== "Released" && is !== "Closed"))) return false;
  if (asked.then?.is !== "Rewound") return true;
  const { source, generation, keep: positions } = asked.then;
  const from = await tx.row(source);
  const length = from === null ? 0 : await lengthOf(tx.db, from, generation);
  const fits = positions.every((position) => position < length);
  return row.run.rewind !== undefined && row.task.position === 0 && !appends && fits;
}

async function repeatedChild(tx: Tx, asked: NonNullable<Commit["children"]>[number]): Promise<Created> {
  const row = await tx.row(asked.id);
  if (row !== null) return created("existed", row);
  const { workflow, digest, parent } = asked; // purged since
  return { outcome: "existed", workflow, digest, parent: parent ?? undefined, generation: 1, status: "pending" };
}

async function apply(tx: Tx, row: Row, asked: Commit): Promise<Committed> {
  const { task } = row;
  const { seq } = task;
  const then: Then = asked.then ?? { is: "Running" };
  const entries = asked.append ?? [];
  task.at = Math.max(tx.now, task.at);
  if (entries.length > 0 || (then.is !== "Running" && then.is !== "Released")) task.strikes = 0;
  if (entries.length > 0) await append(tx, row, entries);
  if (asked.flushed != null) task.flushed = asked.flushed;
  if (asked.waits != null) task.waits = asked.waits;
  let stands = true;
  for (const id of asked.consumed ?? []) stands = (await consume(tx, row, id)) && stands;
  for (const letter of asked.dead ?? []) await consume(tx, row, letter.id, letter.reason);
  await side(tx, row, asked);
  // Children before messages: a commit may create a run and signal it. Both before the move: a run that signals itself
  // and then waits must find the message.
  const children: Created[] = [];
  for (const new_ of asked.children ?? []) children.push(await child(tx, new_));
  for (const message of asked.messages ?? []) await send(tx, message, false);
  await move(tx, row, then, stands);
  if (entries.length === 0) await stamp(tx, row, seq);
  task.seq = seq + 1;
  return { verdict: "applied", at: task.at, now: tx.now, children };
}

/** Values, stream items and payload parts. */
async function side(tx: Tx, row: Row, asked: Commit): Promise<void> {
  for (const [name, data] of asked.values ?? []) {
    if (typeof name === "string" && data !== undefined) await setValue(tx, row, name, data);
  }
  const offsets = new Map<string, number>();
  for (const { stream, item } of asked.emits ?? []) {
    const offset = offsets.get(stream) ?? (await streamLength(tx, row, stream));
    offsets.set(stream, offset + 1);
    const data = await keep(tx.db, row.key, item, INLINE_ROW);
    await tx.db.insert("streams", { key: row.key, name: stream, offset, data });
  }
  for (const { hash, data } of asked.parts ?? []) {
    if (!(await hasPart(tx, row, hash))) {
      await tx.db.insert("parts", { key: row.key, hash, data: await keep(tx.db, row.key, data, INLINE_ROW) });
    }
  }
}

async function setValue(tx: Tx, row: Row, name: string, data: Bytes): Promise<void> {
  const known = await tx.db
    .query("values")
    .withIndex("by_name", (q) => q.eq("key", row.key).eq("name", name))
    .unique();
  const kept = await keep(tx.db, row.key, data, INLINE_ROW);
  if (known === null) {
    await tx.db.insert("values", { key: row.key, name, data: kept });
    return;
  }
  await dropped(tx.db, known.data);
  await tx.db.patch(known._id, { data: kept });
}

async function streamLength(tx: Tx, row: Row, name: string): Promise<number> {
  const last = await tx.db
    .query("streams")
    .withIndex("by_offset", (q) => q.eq("key", row.key).eq("name", name))
    .order("desc")
    .first();
  return last === null ? 0 : last.offset + 1;
}

async function hasPart(tx: Tx, row: Row, hash: string): Promise<boolean> {
  const known = await tx.db
    .query("parts")
    .withIndex("by_hash", (q) => q.eq("key", row.key).eq("hash", hash))
    .unique();
  return known !== null;
}

/** What `then` says; a pause that a resume has taken back (its message was read already) does not stand. */
async function move(tx: Tx, row: Row, then: Then, stands: boolean): Promise<void> {
  if (then.is === "Running") return; // of which run only the task was read
  const { run, task } = row;
  switch (then.is) {
    case "Waiting":
      hold(row, "waiting", (await hasUnreadAfter(tx, row, then.seen)) ? tx.now : (then.wake_at ?? undefined));
      return;
    case "Released":
      released(tx, row);
      return;
    case "Paused":
      hold(row, stands ? "paused" : "waiting", stands ? undefined : tx.now);
      return;
    case "Blocked":
      hold(row, "blocked", undefined);
      run.blocked = then.reason;
      run.blockedKind = then.kind;
      run.blockedCall = then.call ?? undefined;
      return;
    case "Ended": {
      const { status, outcome, closing = false } = then;
      await end(tx, row, { status, outcome, error: then.error ?? undefined, endedAt: task.at, closing });
      run.keepSeconds = then.keep_seconds ?? undefined;
      return;
    }
    case "Continued":
      await continueAs(tx, row, then);
      return;
    case "Rewound":
      await rewind(tx, row, then);
      return;
    case "Closed":
      run.closing = false;
      if (row.ended) {
        task.owner = undefined;
        run.keepSeconds ??= then.keep_seconds ?? undefined;
      }
      return;
  }
}

/** Drained. Without an entry there was no progress either, so older strikes stand; only this claim's goes. */
function released(tx: Tx, row: Row): void {
  const { task } = row;
  task.owner = undefined;
  task.dueAt = tx.now;
  if (task.lane === CLOSING_LANE) return;
  task.strikes = Math.max(0, task.strikes - 1);
  row.run.status = "waiting";
}

async function continueAs(tx: Tx, row: Row, next: Extract<Then, { is: "Continued" }>): Promise<void> {
  const { run, task } = row;
  task.owner = undefined;
  nextGeneration(row);
  run.status = "pending";
  run.workflow = next.workflow;
  run.version = next.version ?? undefined;
  task.lane = laneKey(run.queue, run.workflow, run.version);
  await setInput(tx, row, next.input);
  run.digest = next.digest;
  run.seed = next.seed;
  run.tries = next.tries ?? 0;
  run.startedAt = undefined;
  await setRewind(tx, row, undefined);
  task.dueAt = tx.now + (next.delay_seconds ?? 0);
}

async function rewind(tx: Tx, row: Row, order: Extract<Then, { is: "Rewound" }>): Promise<void> {
  const { run, task } = row;
  const source = await tx.row(order.source);
  task.at = run.startedAt ?? task.at;
  if (source !== null) {
    await copyEntries(tx, row, source, order.generation, order.keep);
    if (source !== row) await copyParts(tx, row, source);
  }
  await unconsume(tx, row, order.unread ?? []);
  task.flushed = order.flushed;
  await setRewind(tx, row, undefined);
}

/** The store cannot know which parts the copied entries name, and the source may be purged first. */
async function copyParts(tx: Tx, row: Row, source: Row): Promise<void> {
  const parts = tx.db.query("parts").withIndex("by_hash", (q) => q.eq("key", source.key));
  for (const { hash, data } of await parts.collect()) {
    if (await hasPart(tx, row, hash)) continue;
    await tx.db.insert("parts", { key: row.key, hash, data: await copied(tx.db, row.key, data) });
  }
}

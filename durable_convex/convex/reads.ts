/** What can be read from outside; each answer is of one moment and reads no clock that it could do without. */
import type { Doc, Reader } from "./functions";
import { journalPage } from "./journal";
import { checked, count, find, Invalid, unknown } from "./listing";
import { lettersAfter } from "./messages";
import { fetched, keptSize, Page, CHUNK_ROWS } from "./payloads";
import { heads, earliest } from "./claims";
import { check, stats } from "./upkeep";
import { readRow, readTask, record, Row, weightOf, type RunRecord } from "./rows";
import { findSession, sessions } from "./sessions";
import { PAGE_BYTES_MAX, PAGE_SIZE_MAX, type Ask, type Bytes } from "./values";

type Run = Doc<"runs">;

export async function answer(db: Reader, asked: Ask): Promise<unknown> {
  switch (asked.ask) {
    case "get":
      return await Promise.all(asked.runs.map((id) => recordOf(db, id)));
    case "input":
    case "outcome":
      return await payload(db, asked.run, asked.ask);
    case "list":
      return await list(db, asked, (run) => filled(db, run));
    case "summaries":
      return await list(db, asked, (run) => Promise.resolve(summary(run)));
    case "count":
      return await refusable(() => count(db, asked.query, asked.cursor));
    case "journal": {
      const row = await readRow(db, asked.run);
      if (row === null) return { rows: [], next: null };
      return await journalPage(db, row, asked.generation, asked.start, asked.limit);
    }
    case "messages": {
      const row = await readRow(db, asked.run);
      if (row === null) return { messages: [], cursor: null };
      const { messages, cursor } = await lettersAfter(db, row, asked.after, asked.limit, asked.unread_only);
      return { messages, cursor };
    }
    case "values":
      return await values(db, asked.run, asked.cursor ?? "");
    case "stream":
      return await stream(db, asked.run, asked.name, asked.start, asked.limit);
    case "parts":
      return await parts(db, asked.run, asked.hashes);
    case "sessions":
      return await sessions(db, Date.now() / 1000);
    case "check":
      return await refusable(() => check(db, asked.cursor));
    case "stats":
      return await refusable(() => stats(db, asked.cursor));
    default:
      return unknown(asked);
  }
}

async function refusable(look: () => Promise<object>): Promise<object> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof Invalid) return { invalid: error.message };
    throw error;
  }
}

async function recordOf(db: Reader, id: string): Promise<RunRecord | null> {
  const row = await readRow(db, id);
  return row === null ? null : await record(db, row);
}

async function filled(db: Reader, run: Run): Promise<RunRecord> {
  const task = await readTask(db, run.id);
  if (task === null) throw new Error(`run ${run.id} has no task`);
  return await record(db, new Row(task, run));
}

/** What lists show to people: of the cold document only, so that a list is read again when a status changes. */
function summary(run: Run): object {
  const { id, workflow, version, queue, priority, status, generation, labels, error, blocked, terminated } = run;
  return {
    id,
    workflow,
    version,
    queue,
    priority,
    status,
    generation,
    labels,
    error,
    blocked,
    terminated,
    created_at: run.createdAt,
    started_at: run.startedAt,
    ended_at: run.endedAt,
  };
}

async function list(
  db: Reader,
  asked: Extract<Ask, { ask: "list" | "summaries" }>,
  shown: (run: Run) => Promise<object>,
): Promise<object> {
  return await refusable(async () => {
    checked(asked.limit);
    const { runs, cursor } = await find(db, asked.query, asked.limit, asked.cursor);
    let room = PAGE_BYTES_MAX;
    const fitting = runs.filter((run, n) => (room -= weightOf(run)) > 0 || n === 0);
    const last = fitting[fitting.length - 1];
    const cut = fitting.length < runs.length && last !== undefined;
    return { runs: await Promise.all(fitting.map(shown)), cursor: cut ? last.place : cursor };
  });
}

async function payload(db: Reader, id: string, which: "input" | "outcome"): Promise<Bytes | null> {
  const row = await readRow(db, id);
  const kept = row?.run[which];
  return kept === undefined ? null : await fetched(db, kept);
}

async function values(db: Reader, id: string, after: string): Promise<object> {
  const row = await readRow(db, id);
  const page = new Page<[string, Bytes]>(PAGE_SIZE_MAX, PAGE_BYTES_MAX);
  let last = after;
  while (row !== null && !page.full) {
    const rows = await db
      .query("values")
      .withIndex("by_name", (q) => q.eq("key", row.key).gt("name", last))
      .take(CHUNK_ROWS);
    for (const { name, data } of rows) {
      if (!(await page.take(keptSize(data), async () => [name, await fetched(db, data)]))) break;
      last = name;
    }
    if (rows.length < CHUNK_ROWS) break;
  }
  return { values: page.rows, cursor: page.full ? last : null };
}

async function stream(db: Reader, id: string, name: string, start: number, limit: number): Promise<object> {
  const row = await readRow(db, id);
  if (row === null) return { items: [], next: start, ended: false };
  const page = new Page<Bytes>(Math.min(limit, PAGE_SIZE_MAX), PAGE_BYTES_MAX);
  let next = start;
  while (!page.full) {
    const items = await db
      .query("streams")
      .withIndex("by_offset", (q) => q.eq("key", row.key).eq("name", name).gte("offset", next))
      .take(Math.min(CHUNK_ROWS, limit - page.rows.length));
    for (const { offset, data } of items) {
      if (!(await page.take(keptSize(data), () => fetched(db, data)))) break;
      next = offset + 1;
    }
    if (items.length < CHUNK_ROWS) break;
  }
  const more = await db
    .query("streams")
    .withIndex("by_offset", (q) => q.eq("key", row.key).eq("name", name).gte("offset", next))
    .first();
  return { items: page.rows, next, ended: row.ended && more === null };
}

async function parts(db: Reader, id: string, hashes: readonly string[]): Promise<[string, Bytes][]> {
  const row = await readRow(db, id);
  const page = new Page<[string, Bytes]>(PAGE_SIZE_MAX, PAGE_BYTES_MAX);
  if (row === null) return page.rows;
  for (const hash of new Set(hashes)) {
    const part = await db
      .query("parts")
      .withIndex("by_hash", (q) => q.eq("key", row.key).eq("hash", hash))
      .unique();
    if (part === null) continue;
    if (!(await page.take(keptSize(part.data), async () => [hash, await fetched(db, part.data)]))) break;
  }
  return page.rows;
}

const LAST_ENDS = 4;

/**
 * A text that is another one when there may be something to do: for anybody, when a run has ended or has emitted; for a
 * session, when the head of one of its lanes is another, or a message lies in a run that it owns. Reads no clock.
 */
export async function watch(db: Reader, session: string | null | undefined): Promise<string> {
  const [ended, emitted, own] = await Promise.all([
    db
      .query("runs")
      .withIndex("by_end", (q) => q.gt("endedAt", -Infinity))
      .order("desc")
      .take(LAST_ENDS),
    db.query("streams").order("desc").first(),
    session == null ? "" : watchSession(db, session),
  ]);
  return JSON.stringify([ended.map((run) => [run.id, run.generation]), emitted?._id ?? null, own]);
}

async function watchSession(db: Reader, id: string): Promise<unknown> {
  const session = await findSession(db, id);
  if (session === null) return null;
  const [due, attention] = await Promise.all([
    heads(db, session.lanes),
    db
      .query("tasks")
      .withIndex("by_attention", (q) => q.eq("attention", id))
      .take(PAGE_SIZE_MAX),
  ]);
  return [
    earliest(due) ?? null,
    due.map(({ task }) => [task.run, task.dueAt]),
    attention.map((t) => [t.run, t.letters]),
  ];
}

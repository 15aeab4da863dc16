/** The journal: rows that are inserted and never changed. */
import type { Doc, Reader } from "./functions";
import { CHUNK_ROWS, copied, fetched, INLINE_ROW, keep, keptSize, Page, sizeOf } from "./payloads";
import type { Row, Tx } from "./rows";
import { PAGE_BYTES_MAX, PAGE_SIZE_MAX, type Bytes } from "./values";

export interface JournalRow {
  position: number;
  at: number;
  data: Bytes;
}

/** Append a commit's entries at the run's position, stamped with its time and fence. */
export async function append(tx: Tx, row: Row, entries: readonly Bytes[]): Promise<void> {
  const { task, key } = row;
  const { epoch, seq, at } = task;
  const first = task.position;
  await Promise.all(
    entries.map(async (entry, n) => {
      const data = await keep(tx.db, key, entry, INLINE_ROW);
      const position = first + n;
      await tx.db.insert("journal", { key, generation: task.generation, position, at, epoch, seq, data });
    }),
  );
  task.position += entries.length;
  task.bytes += entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
}

/** Remember when a commit that appended nothing was applied. */
export async function stamp(tx: Tx, row: Row, seq: number): Promise<void> {
  const { epoch, at } = row.task;
  await tx.db.insert("stamps", { key: row.key, epoch, seq, at });
}

/** The stamp of an applied commit of this epoch. */
export async function stampOf(tx: Tx, row: Row, seq: number): Promise<number> {
  const { key } = row;
  const { epoch } = row.task;
  const [entry, bare] = await Promise.all([
    tx.db
      .query("journal")
      .withIndex("by_commit", (q) => q.eq("key", key).eq("epoch", epoch).eq("seq", seq))
      .first(),
    tx.db
      .query("stamps")
      .withIndex("by_commit", (q) => q.eq("key", key).eq("epoch", epoch).eq("seq", seq))
      .first(),
  ]);
  const found = bare ?? entry;
  if (found === null) throw new Error(`commit ${seq} of epoch ${epoch} of run ${row.id} left no stamp`);
  return found.at;
}

/** How many entries a generation of a run has. */
export async function lengthOf(db: Reader, row: Row, generation: number): Promise<number> {
  if (generation === row.task.generation) return row.task.position;
  const last = await db
    .query("journal")
    .withIndex("by_position", (q) => q.eq("key", row.key).eq("generation", generation))
    .order("desc")
    .first();
  return last === null ? 0 : last.position + 1;
}

/** Entries at these ascending positions, which lie close together: one range of the index for each stretch of them. */
async function entriesAt(
  db: Reader,
  row: Row,
  generation: number,
  positions: readonly number[],
): Promise<Doc<"journal">[]> {
  const stretches: { first: number; last: number }[] = [];
  for (const position of positions) {
    const stretch = stretches[stretches.length - 1];
    if (stretch !== undefined && position - stretch.last <= GAP_MAX) stretch.last = position;
    else stretches.push({ first: position, last: position });
  }
  const wanted = new Set(positions);
  const found: Doc<"journal">[] = [];
  for (const { first, last } of stretches) {
    const entries = await db
      .query("journal")
      .withIndex("by_position", (q) =>
        q.eq("key", row.key).eq("generation", generation).gte("position", first).lte("position", last),
      )
      .collect();
    found.push(...entries.filter(({ position }) => wanted.has(position)));
  }
  if (found.length < wanted.size) throw new Error(`the journal of run ${row.id} has a hole`);
  return found;
}

/** Entries that are rather read for nothing than skipped by another range. */
const GAP_MAX = 8;

/** Copy a selection of another journal to the run's own, numbered anew; what it keeps is its data and its times. */
export async function copyEntries(
  tx: Tx,
  row: Row,
  source: Row,
  generation: number,
  positions: readonly number[],
): Promise<void> {
  for (const entry of await entriesAt(tx.db, source, generation, positions)) {
    await tx.db.insert("journal", {
      key: row.key,
      generation: row.task.generation,
      position: row.task.position,
      at: entry.at,
      epoch: 0, // no commit brought it
      seq: 0,
      data: await copied(tx.db, row.key, entry.data),
    });
    row.task.position += 1;
    row.task.bytes += keptSize(entry.data);
    row.task.at = entry.at;
  }
}

export interface JournalPage {
  rows: JournalRow[];
  next: number | null;
}

/** See `Store.journal`; the page ends early rather than be too large. */
export async function journalPage(
  db: Reader,
  row: Row,
  generation: number,
  start: number,
  limit: number,
): Promise<JournalPage> {
  const page = new Page<JournalRow>(Math.min(limit, PAGE_SIZE_MAX), PAGE_BYTES_MAX);
  const length = await lengthOf(db, row, generation);
  let next = start;
  while (next < length && !page.full) {
    const wanted = Math.min(CHUNK_ROWS, limit - page.rows.length);
    const entries = await db
      .query("journal")
      .withIndex("by_position", (q) => q.eq("key", row.key).eq("generation", generation).gte("position", next))
      .take(wanted);
    if (entries.length === 0) break;
    for (const { position, at, data } of entries) {
      const shown = async () => ({ position, at, data: await fetched(db, data) });
      if (!(await page.take(keptSize(data), shown))) break;
      next = position + 1;
    }
  }
  return { rows: page.rows, next: next < length ? next : null };
}

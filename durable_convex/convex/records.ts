/** The key-value side table: versioned, expiring, put-if. */
import type { Doc } from "./functions";
import { CHUNK_ROWS, dropped, fetched, INLINE_ROW, keep, keptSize, Page } from "./payloads";
import type { Tx } from "./rows";
import { PAGE_BYTES_MAX, type Bytes } from "./values";

const SWEEP_MAX = 100;

export interface RecordRow {
  kind: string;
  key: string;
  value: Bytes;
  version: number;
  updated_at: number;
  expires_at?: number;
}

type Stored = Doc<"records">;

async function find(tx: Tx, kind: string, key: string): Promise<Stored | null> {
  return await tx.db
    .query("records")
    .withIndex("by_key", (q) => q.eq("kind", kind).eq("key", key))
    .unique();
}

function alive(row: Stored, now: number): boolean {
  return row.expiresAt === undefined || row.expiresAt > now;
}

async function shown(tx: Tx, row: Stored): Promise<RecordRow> {
  const { kind, key, version, updatedAt, expiresAt } = row;
  return { kind, key, value: await fetched(tx.db, row.value), version, updated_at: updatedAt, expires_at: expiresAt };
}

export interface Put {
  kind: string;
  key: string;
  value: Bytes;
  expect?: number | null;
  keep_seconds?: number | null;
  request?: string | null;
}

export async function put(tx: Tx, asked: Put): Promise<RecordRow | null> {
  const { kind, key } = asked;
  const row = await find(tx, kind, key);
  const before = row !== null && alive(row, tx.now) ? row.version : 0;
  if (row !== null && asked.request != null && row.request === asked.request) return await shown(tx, row);
  if (asked.expect != null && asked.expect !== before) return null;
  const value = await keep(tx.db, "records", asked.value, INLINE_ROW);
  const expiresAt = asked.keep_seconds == null ? undefined : tx.now + asked.keep_seconds;
  const request = asked.request ?? undefined;
  const fields = { kind, key, value, version: before + 1, updatedAt: tx.now, expiresAt, request };
  if (row === null) {
    await tx.db.insert("records", fields);
  } else {
    await dropped(tx.db, row.value);
    await tx.db.replace(row._id, fields);
  }
  return { kind, key, value: asked.value, version: before + 1, updated_at: tx.now, expires_at: expiresAt };
}

export async function get(tx: Tx, kind: string, key: string): Promise<RecordRow | null> {
  const row = await find(tx, kind, key);
  return row === null || !alive(row, tx.now) ? null : await shown(tx, row);
}

export async function listAfter(tx: Tx, kind: string, after: string, limit: number): Promise<RecordRow[]> {
  const page = new Page<RecordRow>(limit, PAGE_BYTES_MAX);
  for (let last = after; !page.full;) {
    const rows = await tx.db
      .query("records")
      .withIndex("by_key", (q) => q.eq("kind", kind).gt("key", last))
      .take(CHUNK_ROWS);
    for (const row of rows) {
      if (alive(row, tx.now) && !(await page.take(keptSize(row.value), () => shown(tx, row)))) return page.rows;
      last = row.key;
    }
    if (rows.length < CHUNK_ROWS) break;
  }
  return page.rows;
}

export async function remove(tx: Tx, kind: string, key: string): Promise<boolean> {
  const row = await find(tx, kind, key);
  if (row === null) return false;
  await dropped(tx.db, row.value);
  await tx.db.delete(row._id);
  return alive(row, tx.now);
}

/** Expired records are absent already; this frees what they take. */
export async function sweep(tx: Tx): Promise<void> {
  const expired = await tx.db
    .query("records")
    .withIndex("by_expiry", (q) => q.gt("expiresAt", -Infinity).lte("expiresAt", tx.now))
    .take(SWEEP_MAX);
  for (const row of expired) {
    await dropped(tx.db, row.value);
    await tx.db.delete(row._id);
  }
}

/** Inboxes: messages arrive, are read, and wake who waits. */
import type { Doc, Reader } from "./functions";
import { CHUNK_ROWS, fetched, INLINE_LETTER, keep, keptSize, Page, sizeOf } from "./payloads";
import type { Row, Tx } from "./rows";
import { PAGE_BYTES_MAX, PAGE_SIZE_MAX, UNREAD_SIGNALS_MAX, type Bytes, type Message } from "./values";

export type Sent = "accepted" | "duplicate" | "not_found" | "ended" | "inbox_full";
type Letter = Doc<"messages">;

export interface InboxMessage {
  message: { run: string; id: string; kind: Message["kind"]; name: string; payload: Bytes; generation: number };
  seq: number;
  at: number;
  consumed: boolean;
  dead?: string;
}

async function find(tx: Tx, row: Row, id: string): Promise<Letter | null> {
  return await tx.db
    .query("messages")
    .withIndex("by_message", (q) => q.eq("key", row.key).eq("id", id))
    .unique();
}

/** See `Store.send`; signals of a commit are taken over the limit. */
export async function send(tx: Tx, message: Message, limited: boolean): Promise<Sent> {
  const row = await tx.row(message.run);
  if (row === null) return "not_found";
  if ((await find(tx, row, message.id)) !== null) return "duplicate";
  if (row.ended) return "ended";
  const { task } = row;
  const signal = message.kind === "signal";
  if (limited && signal && task.unreadSignals >= UNREAD_SIGNALS_MAX) return "inbox_full";
  task.letters += 1;
  task.unread += 1;
  if (signal) task.unreadSignals += 1;
  task.bytes += sizeOf(message.payload);
  await tx.db.insert("messages", {
    key: row.key,
    seq: task.letters,
    id: message.id,
    kind: message.kind,
    name: message.name,
    payload: await keep(tx.db, row.key, message.payload, INLINE_LETTER),
    generation: message.generation ?? 0,
    at: tx.now,
    unread: true,
  });
  if (task.owner !== undefined) task.attention = task.owner;
  const sleeps = row.run.status === "waiting" && task.owner === undefined;
  if (sleeps && (task.dueAt === undefined || task.dueAt > tx.now)) task.dueAt = tx.now;
  return "accepted";
}

async function markRead(tx: Tx, row: Row, letter: Letter, dead: string | undefined): Promise<void> {
  await tx.db.patch(letter._id, dead === undefined ? { unread: false } : { unread: false, dead });
  row.task.unread -= 1;
  if (letter.kind === "signal") row.task.unreadSignals -= 1;
}

/** Whether the message was there, and unread until now. */
export async function consume(tx: Tx, row: Row, id: string, dead?: string): Promise<boolean> {
  const letter = await find(tx, row, id);
  if (letter === null || !letter.unread) return false;
  await markRead(tx, row, letter, dead);
  return true;
}

/** Messages become unread again, because what consumed them was cut off. */
export async function unconsume(tx: Tx, row: Row, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const letter = await find(tx, row, id);
    if (letter === null || letter.unread) continue;
    await tx.db.patch(letter._id, { unread: true, dead: undefined });
    row.task.unread += 1;
    if (letter.kind === "signal") row.task.unreadSignals += 1;
  }
}

export async function unreadPauses(tx: Tx, row: Row): Promise<Letter[]> {
  if (row.task.unread === 0) return [];
  return await tx.db
    .query("messages")
    .withIndex("by_kind", (q) => q.eq("key", row.key).eq("kind", "pause").eq("unread", true))
    .collect();
}

export async function consumePauses(tx: Tx, row: Row): Promise<number> {
  const pauses = await unreadPauses(tx, row);
  for (const pause of pauses) await markRead(tx, row, pause, undefined);
  return pauses.length;
}

/** The ids stay known, so that a repeat of an old signal does not reach the next generation. */
export async function discardUnread(tx: Tx, row: Row, reason: string): Promise<void> {
  if (row.task.unread === 0) return;
  const unread = tx.db.query("messages").withIndex("by_unread", (q) => q.eq("key", row.key).eq("unread", true));
  for (const letter of await unread.collect()) await markRead(tx, row, letter, reason);
}

export async function hasUnreadAfter(tx: Tx, row: Row, seq: number): Promise<boolean> {
  if (row.task.unread === 0 || row.task.letters <= seq) return false;
  const next = await tx.db
    .query("messages")
    .withIndex("by_unread", (q) => q.eq("key", row.key).eq("unread", true).gt("seq", seq))
    .first();
  return next !== null;
}

export interface LetterPage {
  messages: InboxMessage[];
  /** The seq to go on from if the page ended early for its size. */
  cursor: number | null;
  bytes: number;
}

/** Messages with a seq above `after`, in order; at most so many, and not many more bytes than that. */
export async function lettersAfter(
  db: Reader,
  row: Row,
  after: number,
  limit: number,
  unreadOnly: boolean,
  bytesMax: number = PAGE_BYTES_MAX,
): Promise<LetterPage> {
  const page = new Page<InboxMessage>(Math.min(limit, PAGE_SIZE_MAX), bytesMax);
  const nothing = row.task.letters <= after || (unreadOnly && row.task.unread === 0);
  let last = after;
  let bytes = 0;
  while (!nothing && !page.full) {
    const wanted = Math.min(CHUNK_ROWS, limit - page.rows.length);
    const letters = await chunk(db, row, last, wanted, unreadOnly);
    for (const letter of letters) {
      const size = keptSize(letter.payload) + 200;
      if (!(await page.take(size, () => shown(db, row.id, letter)))) break;
      last = letter.seq;
      bytes += size;
    }
    if (letters.length < wanted) break;
  }
  return { messages: page.rows, cursor: page.cut ? last : null, bytes };
}

async function chunk(db: Reader, row: Row, after: number, limit: number, unreadOnly: boolean): Promise<Letter[]> {
  const letters = db.query("messages");
  if (!unreadOnly) {
    return await letters.withIndex("by_seq", (q) => q.eq("key", row.key).gt("seq", after)).take(limit);
  }
  return await letters
    .withIndex("by_unread", (q) => q.eq("key", row.key).eq("unread", true).gt("seq", after))
    .take(limit);
}

async function shown(db: Reader, run: string, letter: Letter): Promise<InboxMessage> {
  const { id, kind, name, generation, seq, at, unread, dead } = letter;
  const payload = await fetched(db, letter.payload);
  return { message: { run, id, kind, name, payload, generation }, seq, at, consumed: !unread, dead };
}

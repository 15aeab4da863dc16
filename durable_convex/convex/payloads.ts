/** Opaque bytes of any size in documents of at most 1 MiB: in place where they are small, else in parts. */
import type { Infer } from "convex/values";
import type { Doc, Key, Reader, Writer } from "./functions";
import type { kept } from "./schema";
import type { Bytes } from "./values";

export type Kept = Infer<typeof kept>;

/** In documents that are read alone, or a page at a time: 64 of them are 4 MiB. */
export const INLINE_ROW = 64 * 1024;
/** In messages, each of which is read again to be marked as read. */
export const INLINE_LETTER = 4 * 1024;
/** In the documents of a run, which are read for lists and claims. */
export const INLINE_RUN = 2 * 1024;
/** Rows of a page that are read at once. */
export const CHUNK_ROWS = 64;
const PART_BYTES = 700_000;

/** Bytes of a text in UTF-8, or of a buffer. */
export function sizeOf(data: Bytes): number {
  if (typeof data !== "string") return data.byteLength;
  let size = data.length;
  for (let n = 0; n < data.length; n += 1) {
    const unit = data.charCodeAt(n);
    if (unit >= 0x80) size += unit < 0x800 ? 1 : 2;
    if (unit >= 0xd800 && unit < 0xdc00) n += 1; // a pair: two units, four bytes
  }
  return size;
}

function cut(data: Bytes): Bytes[] {
  const parts: Bytes[] = [];
  if (typeof data !== "string") {
    for (let start = 0; start < data.byteLength; start += PART_BYTES) parts.push(data.slice(start, start + PART_BYTES));
    return parts;
  }
  const units = Math.floor(PART_BYTES / 3); // no unit takes more than three bytes
  for (let start = 0; start < data.length;) {
    let end = Math.min(start + units, data.length);
    const last = data.charCodeAt(end - 1);
    if (end < data.length && last >= 0xd800 && last < 0xdc00) end -= 1; // a pair stays together
    parts.push(data.slice(start, end));
    start = end;
  }
  return parts;
}

/** What to write into a field for these bytes; what is larger than `inline` is put into documents of its own. */
export async function keep(db: Writer, key: string, data: Bytes, inline: number): Promise<Kept> {
  if (typeof data === "string" && data.length * 3 <= inline) return data;
  const size = sizeOf(data);
  if (size <= inline) return data;
  const parts = await Promise.all(cut(data).map((part) => db.insert("payloads", { key, data: part })));
  return { parts, size };
}

export function keptSize(kept: Kept): number {
  return inPlace(kept) ? sizeOf(kept) : kept.size;
}

function inPlace(kept: Kept): kept is Bytes {
  return typeof kept === "string" || !("parts" in kept);
}

/** The bytes again, as they were given. */
export async function fetched(db: Reader, kept: Kept): Promise<Bytes> {
  if (inPlace(kept)) return kept;
  const found = await Promise.all(kept.parts.map((id) => db.get(id)));
  const parts = found.filter((part): part is Doc<"payloads"> => part !== null).map((part) => part.data);
  if (parts.length < kept.parts.length) throw new Error("a part of a payload is missing");
  if (parts.every((part) => typeof part === "string")) return parts.join("");
  const whole = new Uint8Array(kept.size);
  let end = 0;
  for (const part of parts as ArrayBuffer[]) {
    whole.set(new Uint8Array(part), end);
    end += part.byteLength;
  }
  return whole.buffer;
}

/** Forget what a field held. */
export async function dropped(db: Writer, kept: Kept | undefined): Promise<void> {
  if (kept !== undefined && !inPlace(kept)) await Promise.all(kept.parts.map((id) => db.delete(id)));
}

/** A copy for another run, which must not lose it when this one is purged. */
export async function copied(db: Writer, key: Key, kept: Kept): Promise<Kept> {
  return inPlace(kept) ? kept : await keep(db, key, await fetched(db, kept), 0);
}

/** A page under construction: full when its rows or its bytes are. */
export class Page<T> {
  readonly rows: T[] = [];
  private bytes = 0;
  /** Whether a row was turned away for its size. */
  cut = false;

  constructor(
    private readonly limit: number,
    private readonly bytesMax: number,
  ) {}

  get full(): boolean {
    return this.cut || this.rows.length >= this.limit;
  }

  /** Take the row if it fits; the first one always does. */
  async take(size: number, row: () => T | Promise<T>): Promise<boolean> {
    if (this.rows.length >= this.limit) return false;
    if (this.rows.length > 0 && this.bytes + size > this.bytesMax) {
      this.cut = true;
      return false;
    }
    this.bytes += size;
    this.rows.push(await row());
    return true;
  }
}

/** Document ids: base32 text of a table number, 16 random bytes and a checksum. */
import { randomFillSync } from "node:crypto";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const VALUES = new Map([...ALPHABET].map((letter, value) => [letter, value]));
const RANDOM_BYTES = 16;

// Random bytes are drawn in bulk: one call per document would be a tenth of the cost of a small mutation.
const pool = Buffer.alloc(RANDOM_BYTES * 256);
let poolAt = pool.length;

function randomBytes(): Buffer {
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  poolAt += RANDOM_BYTES;
  return pool.subarray(poolAt - RANDOM_BYTES, poolAt);
}

function checksum(bytes: Uint8Array): number {
  let first = 0;
  let second = 0;
  for (const byte of bytes) {
    first = (first + byte) % 255;
    second = (second + first) % 255;
  }
  return (second << 8) | first;
}

function tableBytes(table: number): number[] {
  const bytes: number[] = [];
  let rest = table;
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}

/** Makes a new id for a document of the table with this number. */
export function newId(table: number): string {
  const body = [...tableBytes(table), ...randomBytes()];
  const sum = checksum(Uint8Array.from(body));
  return base32([...body, sum & 0xff, sum >> 8]);
}

/** The number of the table that an id belongs to, or null if it is no id. */
export function tableNumberOf(id: string): number | null {
  const bytes = unbase32(id);
  if (bytes === null) return null;
  const sum = checksum(bytes.subarray(0, -2));
  if (bytes.at(-2) !== (sum & 0xff) || bytes.at(-1) !== sum >> 8) return null;
  let table = 0;
  for (let at = 0; at < bytes.length - RANDOM_BYTES - 2; at++) table |= ((bytes[at] as number) & 0x7f) << (7 * at);
  return table;
}

function base32(bytes: readonly number[]): string {
  let text = "";
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET.charAt((held >> bits) & 31);
    }
    held &= (1 << bits) - 1;
  }
  return bits > 0 ? text + ALPHABET.charAt((held << (5 - bits)) & 31) : text;
}

function unbase32(text: string): Uint8Array | null {
  if (text.length < 31 || text.length > 37) return null;
  const bytes: number[] = [];
  let bits = 0;
  let held = 0;
  for (const letter of text) {
    const value = VALUES.get(letter);
    if (value === undefined) return null;
    held = (held << 5) | value;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
      held &= (1 << bits) - 1;
    }
  }
  return held === 0 ? Uint8Array.from(bytes) : null;
}

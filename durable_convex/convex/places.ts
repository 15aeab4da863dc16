/** The order of lists as one text: time of creation, then id. */

const DIGITS = 16;

/** A finite time as hexadecimal digits that sort as it does. */
function sortable(seconds: number): string {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, seconds);
  let bits = view.getBigUint64(0);
  // Sign bit set: larger magnitudes are smaller numbers, so every bit is turned; else only the sign is.
  bits = bits >> 63n ? bits ^ 0xffffffffffffffffn : bits | 0x8000000000000000n;
  return bits.toString(16).padStart(DIGITS, "0");
}

export function placeOf(createdAt: number, id: string): string {
  return `${sortable(createdAt)} ${id}`;
}

/** The least text above the place of every run created at this instant. */
export function after(createdAt: number): string {
  return `${sortable(createdAt)}!`; // "!" follows the space, and precedes every digit
}

/** The least place of this instant. */
export function at(createdAt: number): string {
  return sortable(createdAt);
}

/** Whether a cursor can be one of ours. */
export function isPlace(cursor: string): boolean {
  return /^[0-9a-f]{16} ./s.test(cursor);
}

/** Texts by their code points, as indexes sort them; JavaScript's own order differs above U+FFFF. */
export function compare(one: string, other: string): number {
  const length = Math.min(one.length, other.length);
  for (let n = 0; n < length; n += 1) {
    let left = one.charCodeAt(n);
    let right = other.charCodeAt(n);
    if (left === right) continue;
    if (left >= 0xd800 && left < 0xe000) left += 0x10000; // half of a pair: above everything that has no pair
    if (right >= 0xd800 && right < 0xe000) right += 0x10000;
    return left - right;
  }
  return one.length - other.length;
}

/** What a transaction read and what commits wrote, as far as one can touch the other. */
import { compareKeys, type Index } from "./indexes.ts";
import { ABOVE, after, keyOf } from "./sortkey.ts";

/** Keys from `low` to below `high` that somebody looked at; it grows while a query is consumed. */
export interface Interval {
  low: string;
  high: string;
}

/** The read set: intervals of indexes. A commit that wrote a key inside one of them makes the reads stale. */
export class ReadSet {
  readonly intervals = new Map<Index, Interval[]>();

  add(index: Index, interval: Interval): Interval {
    const known = this.intervals.get(index);
    if (known === undefined) this.intervals.set(index, [interval]);
    else known.push(interval);
    return interval;
  }

  addKey(index: Index, key: string): void {
    this.add(index, { low: key, high: after(key) });
  }

  /** A read of all documents of which `value` is the first field of the index. */
  addValue(index: Index, value: string): void {
    const low = keyOf(value);
    this.add(index, { low, high: low + ABOVE });
  }
}

/** The index keys that one commit, or several, added or removed. */
export class WrittenKeys {
  private readonly keys = new Map<Index, string[]>();
  private readonly sorted = new Set<Index>();

  add(index: Index, key: string): void {
    const known = this.keys.get(index);
    if (known === undefined) this.keys.set(index, [key]);
    else known.push(key);
    this.sorted.delete(index);
  }

  get isEmpty(): boolean {
    return this.keys.size === 0;
  }

  /** The indexes that were written. */
  indexes(): Iterable<Index> {
    return this.keys.keys();
  }

  touches(reads: ReadSet): boolean {
    for (const index of this.keys.keys()) {
      const intervals = reads.intervals.get(index);
      if (intervals === undefined) continue;
      const keys = this.sortedKeys(index);
      if (intervals.some((interval) => containsAny(keys, interval))) return true;
    }
    return false;
  }

  private sortedKeys(index: Index): readonly string[] {
    const keys = this.keys.get(index) as string[];
    if (!this.sorted.has(index)) {
      keys.sort(compareKeys);
      this.sorted.add(index);
    }
    return keys;
  }
}

function containsAny(keys: readonly string[], { low, high }: Interval): boolean {
  let from = 0;
  let to = keys.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((keys[middle] as string) < low) from = middle + 1;
    else to = middle;
  }
  const first = keys[from];
  return first !== undefined && first < high;
}

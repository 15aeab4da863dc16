/** One index: documents in the order of their keys. */
import imported from "sorted-btree";
import type { StoredDocument } from "./documents.ts";
import { keyOf } from "./sortkey.ts";
import { fieldAt } from "./values.ts";

// The package is CommonJS: to Node its default export is one level down, to bundlers it is not.
const BTree = (imported as unknown as { default?: typeof imported }).default ?? imported;

/** What both a stored index and a transaction's own writes can be asked. */
export interface Ordered {
  /** The first entry with a key of `key` or above (`inclusive`), or above. */
  next(key: string, inclusive: boolean): Entry | undefined;
  /** The last entry with a key below `key`. */
  previous(key: string): Entry | undefined;
}

export type Entry = readonly [key: string, document: StoredDocument];

export function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export class SortedDocuments implements Ordered {
  private readonly tree = new BTree<string, StoredDocument>(undefined, compareKeys);

  set(key: string, document: StoredDocument): void {
    this.tree.set(key, document);
  }

  delete(key: string): void {
    this.tree.delete(key);
  }

  get(key: string): StoredDocument | undefined {
    return this.tree.get(key);
  }

  next(key: string, inclusive: boolean): Entry | undefined {
    return inclusive ? this.tree.getPairOrNextHigher(key) : this.tree.nextHigherPair(key);
  }

  previous(key: string): Entry | undefined {
    return this.tree.nextLowerPair(key);
  }

  values(): Iterable<StoredDocument> {
    return this.tree.values();
  }

  get size(): number {
    return this.tree.size;
  }
}

export class Index {
  readonly name: string;
  /** The fields that a range may name, in order. */
  readonly fields: readonly string[];
  /** The place of this index's key among a document's keys. */
  readonly position: number;
  readonly documents = new SortedDocuments();
  private readonly paths: readonly (readonly string[])[];

  constructor(name: string, fields: readonly string[], position: number) {
    this.name = name;
    this.fields = fields;
    this.position = position;
    this.paths = fields.map((field) => field.split("."));
  }

  /** The key of a document: the fields of the index, then the id, which makes it unique. */
  keyFor(document: StoredDocument): string {
    const kept = document.keys[this.position];
    if (kept !== undefined) return kept;
    let key = "";
    for (const path of this.paths) key += keyOf(fieldAt(document.value, path));
    if (this.fields[0] !== "_id") key += keyOf(document.id);
    document.keys[this.position] = key;
    return key;
  }
}

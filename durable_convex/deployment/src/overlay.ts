/** A transaction's own writes, laid over the committed tables, with savepoints for the functions it calls. */
import { makeDocument, type StoredDocument } from "./documents.ts";
import { SortedDocuments, type Entry, type Index } from "./indexes.ts";
import type { WrittenKeys } from "./reads.ts";
import type { Table } from "./tables.ts";
import { kindOf, resolveCommitTs, type Json } from "./values.ts";

interface IndexOverlay {
  readonly added: SortedDocuments;
  readonly hidden: Set<string>;
}

/** null: deleted here. */
type Version = StoredDocument | null;

interface Undo {
  readonly table: Table;
  readonly id: string;
  readonly version: Version | undefined;
}

export class Overlay {
  private readonly versions = new Map<Table, Map<string, Version>>();
  private readonly indexes = new Map<Index, IndexOverlay>();
  private readonly undos: Undo[] = [];

  /** The version written here; undefined if this transaction has not touched the document. */
  own(table: Table, id: string): Version | undefined {
    return this.versions.get(table)?.get(id);
  }

  get isEmpty(): boolean {
    for (const versions of this.versions.values()) if (versions.size > 0) return false;
    return true;
  }

  write(table: Table, id: string, version: Version): void {
    this.undos.push({ table, id, version: this.own(table, id) });
    this.place(table, id, version);
  }

  savepoint(): number {
    return this.undos.length;
  }

  rollback(savepoint: number): void {
    while (this.undos.length > savepoint) {
      const { table, id, version } = this.undos.pop() as Undo;
      this.place(table, id, version);
    }
  }

  private place(table: Table, id: string, next: Version | undefined): void {
    const current = this.own(table, id);
    const base = table.get(id);
    for (const index of table.indexes) {
      const overlay = this.overlayOf(index);
      if (current) overlay.added.delete(index.keyFor(current));
      if (base !== null) {
        if (next === undefined) overlay.hidden.delete(index.keyFor(base));
        else overlay.hidden.add(index.keyFor(base));
      }
      if (next) overlay.added.set(index.keyFor(next), next);
    }
    let versions = this.versions.get(table);
    if (versions === undefined) this.versions.set(table, (versions = new Map()));
    if (next === undefined) versions.delete(id);
    else versions.set(id, next);
  }

  private overlayOf(index: Index): IndexOverlay {
    let overlay = this.indexes.get(index);
    if (overlay === undefined) this.indexes.set(index, (overlay = { added: new SortedDocuments(), hidden: new Set() }));
    return overlay;
  }

  /** As `Ordered.next`, over the committed index and this transaction's writes. */
  next(index: Index, key: string, inclusive: boolean): Entry | undefined {
    const overlay = this.indexes.get(index);
    let stored = index.documents.next(key, inclusive);
    if (overlay === undefined) return stored;
    while (stored !== undefined && overlay.hidden.has(stored[0])) stored = index.documents.next(stored[0], false);
    const added = overlay.added.next(key, inclusive);
    if (stored === undefined || added === undefined) return stored ?? added;
    return added[0] <= stored[0] ? added : stored;
  }

  previous(index: Index, key: string): Entry | undefined {
    const overlay = this.indexes.get(index);
    let stored = index.documents.previous(key);
    if (overlay === undefined) return stored;
    while (stored !== undefined && overlay.hidden.has(stored[0])) stored = index.documents.previous(stored[0]);
    const added = overlay.added.previous(key);
    if (stored === undefined || added === undefined) return stored ?? added;
    return added[0] >= stored[0] ? added : stored;
  }

  /**
   * Makes the writes the committed state.
   *
   * Returns:
   *   The writes as the log keeps them.
   */
  apply(ts: bigint, written: WrittenKeys): LoggedWrite[] {
    const logged: LoggedWrite[] = [];
    for (const [table, versions] of this.versions) {
      for (const [id, version] of versions) {
        const next = version === null ? null : settled(version, ts);
        noteKeys(table, table.get(id), written);
        noteKeys(table, next, written);
        table.put(id, next);
        logged.push({ table, id, json: next?.json ?? null });
      }
    }
    return logged;
  }
}

export interface LoggedWrite {
  readonly table: Table;
  readonly id: string;
  /** The new version; null: removed. */
  readonly json: string | null;
}

function noteKeys(table: Table, version: Version, written: WrittenKeys): void {
  if (version === null) return;
  for (const index of table.indexes) written.add(index, index.keyFor(version));
}

/** The document with its commit timestamps, which were not known while the function ran. */
function settled(version: StoredDocument, ts: bigint): StoredDocument {
  if (!version.json.includes('"$commitTs"') || !hasCommitTs(version.value)) return version;
  const value = resolveCommitTs(version.value, ts);
  return makeDocument(version.id, value["_creationTime"] as number, value);
}

function hasCommitTs(value: Json): boolean {
  if (kindOf(value) === "commitTs") return true;
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(hasCommitTs);
}

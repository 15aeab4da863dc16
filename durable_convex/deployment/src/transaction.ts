/** One transaction: reads of the committed state and its own writes, metered and remembered. */
import { makeDocument, makeSystemDocument, type StoredDocument } from "./documents.ts";
import { FunctionError } from "./errors.ts";
import { newId } from "./ids.ts";
import type { Entry, Index } from "./indexes.ts";
import { Meter } from "./limits.ts";
import { Overlay } from "./overlay.ts";
import { ReadSet, type Interval } from "./reads.ts";
import { after, keyOf } from "./sortkey.ts";
import type { Namespace, Table, Tables } from "./tables.ts";
import { kindOf, type JsonObject } from "./values.ts";
import { mismatch } from "./validators.ts";

export type Order = "asc" | "desc";

export class Transaction {
  readonly tables: Tables;
  /** When it began, in milliseconds since the epoch: what the function's clock says. */
  readonly beganAt: number;
  readonly snapshotTs: bigint;
  readonly reads = new ReadSet();
  readonly overlay = new Overlay();
  readonly meter = new Meter();
  private lastCreation = 0;

  constructor(tables: Tables, beganAt: number, snapshotTs: bigint) {
    this.tables = tables;
    this.beganAt = beganAt;
    this.snapshotTs = snapshotTs;
  }

  get(table: Table, id: string): StoredDocument | null {
    this.meter.add("databaseQueries", 1);
    this.reads.addKey(table.byId, keyOf(id));
    const document = this.peek(table, id);
    if (document !== null) this.noteRead(document);
    return document;
  }

  /** As `get`, for the deployment itself: unmetered, and no part of the read set. */
  peek(table: Table, id: string): StoredDocument | null {
    const own = this.overlay.own(table, id);
    return own === undefined ? table.get(id) : own;
  }

  /** As `peek`, but a commit that changes the document is a conflict. */
  observe(table: Table, id: string): StoredDocument | null {
    this.reads.addKey(table.byId, keyOf(id));
    return this.peek(table, id);
  }

  private noteRead(document: StoredDocument): void {
    this.meter.add("documentsRead", 1);
    this.meter.add("bytesRead", document.bytes);
  }

  insert(namespace: Namespace, name: string, fields: JsonObject): string {
    const table = writable(namespace, name);
    const id = newId(table.number);
    this.write(namespace, table, id, makeDocument(id, this.nextCreation(), fields));
    return id;
  }

  private nextCreation(): number {
    // Distinct within the transaction, so that documents keep the order in which they were inserted.
    this.lastCreation = this.lastCreation === 0 ? this.beganAt : this.lastCreation + 2 ** -10;
    return this.lastCreation;
  }

  /** Sets fields of a document; a field given as `undefined` is removed. */
  patch(namespace: Namespace, id: string, fields: JsonObject, name?: string): void {
    const [table, current] = this.existing(namespace, id, "patch", name);
    const next: JsonObject = { ...current.value };
    for (const [field, value] of Object.entries(fields)) {
      if (kindOf(value) === "undefined") delete next[field];
      else next[field] = value;
    }
    this.write(namespace, table, id, makeDocument(id, creationOf(current), next));
  }

  replace(namespace: Namespace, id: string, fields: JsonObject, name?: string): void {
    const [table, current] = this.existing(namespace, id, "replace", name);
    this.write(namespace, table, id, makeDocument(id, creationOf(current), fields));
  }

  remove(namespace: Namespace, id: string, name?: string): StoredDocument {
    const [table, current] = this.existing(namespace, id, "delete", name);
    this.noteWrite(current.bytes);
    this.overlay.write(table, id, null);
    return current;
  }

  private existing(namespace: Namespace, id: string, verb: string, name?: string): [Table, StoredDocument] {
    const table = tableOf(namespace, id, name);
    if (table.name.startsWith("_")) throw new FunctionError("System tables (prefixed with `_`) are read-only.");
    const current = this.get(table, id);
    if (current === null)
      throw new FunctionError(`The ${verb} was called for the document "${id}", which does not exist.`);
    return [table, current];
  }

  private write(namespace: Namespace, table: Table, id: string, next: StoredDocument): void {
    checkDocument(namespace, table, next);
    this.noteWrite(next.bytes);
    this.overlay.write(table, id, next);
  }

  private noteWrite(bytes: number): void {
    this.meter.add("documentsWritten", 1);
    this.meter.add("bytesWritten", bytes);
  }

  /** Writes a document of a system table, for the deployment itself: no limits, no schema. */
  putSystem(table: Table, id: string, fields: JsonObject | null): void {
    const current = this.peek(table, id);
    const creation = current === null ? this.nextCreation() : creationOf(current);
    this.overlay.write(table, id, fields === null ? null : makeSystemDocument(id, creation, fields));
  }

  /** Opens a range of an index; what is consumed of it becomes part of the read set. */
  range(index: Index, low: string, high: string, order: Order): Range {
    this.meter.add("databaseQueries", 1);
    return new Range(this, index, low, high, order, (document) => this.noteRead(document));
  }
}

/** An open range of an index, consumed document by document. */
export class Range {
  private readonly interval: Interval;
  private at: string;
  private started = false;
  private readonly transaction: Transaction;
  private readonly index: Index;
  private readonly low: string;
  private readonly high: string;
  private readonly order: Order;
  private readonly onRead: (document: StoredDocument) => void;

  constructor(
    transaction: Transaction,
    index: Index,
    low: string,
    high: string,
    order: Order,
    onRead: Range["onRead"],
  ) {
    this.transaction = transaction;
    this.index = index;
    this.low = low;
    this.high = high;
    this.order = order;
    this.onRead = onRead;
    this.at = order === "asc" ? low : high;
    this.interval = transaction.reads.add(index, { low: this.at, high: this.at });
  }

  next(): Entry | null {
    return this.order === "asc" ? this.ascend() : this.descend();
  }

  private ascend(): Entry | null {
    const entry = this.transaction.overlay.next(this.index, this.at, !this.started);
    this.started = true;
    if (entry === undefined || entry[0] >= this.high) {
      this.interval.high = this.high;
      return null;
    }
    this.at = entry[0];
    this.interval.high = after(entry[0]);
    this.onRead(entry[1]);
    return entry;
  }

  private descend(): Entry | null {
    const entry = this.transaction.overlay.previous(this.index, this.at);
    if (entry === undefined || entry[0] < this.low) {
      this.interval.low = this.low;
      return null;
    }
    this.at = entry[0];
    this.interval.low = entry[0];
    this.onRead(entry[1]);
    return entry;
  }
}

function creationOf(document: StoredDocument): number {
  return document.value["_creationTime"] as number;
}

/** The table an id belongs to; throws if it is no id, or not of the table that was named. */
export function tableOf(namespace: Namespace, id: string, name?: string): Table {
  const table = namespace.tableOfId(id);
  if (table === null) throw new FunctionError(`Unable to decode ID: "${id}" is no id of a table of this deployment.`);
  if (name !== undefined && table.name !== name) {
    throw new FunctionError(`Invalid ID: expected an id of table "${name}", got "${id}" of table "${table.name}".`);
  }
  return table;
}

const TABLE_NAME = /^[a-zA-Z][a-zA-Z0-9_]{0,63}$/;

function writable(namespace: Namespace, name: string): Table {
  if (!TABLE_NAME.test(name)) throw new FunctionError(`Invalid table name: "${name}".`);
  if (namespace.schema.strict && !namespace.schema.tables.has(name)) {
    throw new FunctionError(`Table "${name}" is not in the schema.`);
  }
  return namespace.table(name);
}

function checkDocument(namespace: Namespace, table: Table, document: StoredDocument): void {
  const validator = table.definition?.validator ?? null;
  if (validator === null) return;
  const { _id, _creationTime, ...fields } = document.value;
  const found = mismatch(validator, fields, (name, id) => namespace.owns(name, id));
  if (found === null) return;
  throw new FunctionError(
    `Failed to insert or update a document in table "${table.name}" because it does not match the schema: ${found}`,
  );
}

/** The database: begins transactions, commits them in order, and brings its state back from the disk. */
import type { Disk, CommitLine, WriteLine } from "./disk.ts";
import { readDocument } from "./documents.ts";
import { WrittenKeys } from "./reads.ts";
import { Tables } from "./tables.ts";
import { Transaction } from "./transaction.ts";
import type { Schema } from "./schema.ts";
import type { JsonObject } from "./values.ts";

const NANOSECONDS = 1_000_000n;
const SNAPSHOT_LINE_DOCUMENTS = 500;

export class Database {
  readonly tables: Tables;
  /** The timestamp of the last commit: nanoseconds since the epoch, and never the same twice. */
  ts: bigint;
  private readonly disk: Disk | null;

  /** `disk`: null keeps everything in memory. */
  constructor(schemas: ReadonlyMap<string, Schema>, disk: Disk | null) {
    this.tables = new Tables(schemas);
    this.disk = disk;
    this.ts = BigInt(Date.now()) * NANOSECONDS;
    if (disk === null) return;
    disk.load((line) => this.replay(line));
    this.ts = this.nextTs();
    disk.snapshot(this.lines());
  }

  private replay({ ts, writes }: CommitLine): void {
    for (const [namespace, name, number, id, json] of writes) {
      const table = this.tables.namespace(namespace).table(name, number);
      table.put(id, json === null ? null : readDocument(JSON.parse(json) as JsonObject, json));
    }
    if (ts > this.ts) this.ts = ts;
  }

  /** The whole state as commits of one timestamp, for a snapshot. */
  private *lines(): Generator<CommitLine> {
    for (const namespace of this.tables.all()) {
      for (const table of namespace.all()) {
        let writes: WriteLine[] = [];
        for (const { id, json } of table.byId.documents.values()) {
          writes.push([namespace.path, table.name, table.number, id, json]);
          if (writes.length < SNAPSHOT_LINE_DOCUMENTS) continue;
          yield { ts: this.ts, writes };
          writes = [];
        }
        if (writes.length > 0) yield { ts: this.ts, writes };
      }
    }
  }

  begin(): Transaction {
    return new Transaction(this.tables, Date.now(), this.ts);
  }

  private nextTs(): bigint {
    const now = BigInt(Date.now()) * NANOSECONDS;
    return now > this.ts ? now : this.ts + 1n;
  }

  /**
   * Makes a transaction's writes the committed state; they are durable after the next `flush()`.
   *
   * `written` receives the keys that changed.
   *
   * Returns:
   *   The timestamp of the commit.
   */
  commit(transaction: Transaction, written: WrittenKeys): bigint {
    const ts = this.nextTs();
    const logged = transaction.overlay.apply(ts, written);
    this.ts = ts;
    const writes = logged.map(({ table, id, json }): WriteLine => [
      table.namespace,
      table.name,
      table.number,
      id,
      json,
    ]);
    this.disk?.append({ ts, writes });
    return ts;
  }

  async flush(): Promise<void> {
    if (this.disk === null) return;
    await this.disk.flush();
    if (this.disk.wantsSnapshot) this.disk.snapshot(this.lines());
  }

  close(): void {
    this.disk?.close();
  }
}

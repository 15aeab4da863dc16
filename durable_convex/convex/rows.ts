/** The rows of one transaction: read once, changed in memory, written once. */
import type { Doc, Fields, Key, Reader, Writer } from "./functions";
import { fetched, keptSize } from "./payloads";
import { CLOSING_LANE, type Bytes, type Wait } from "./values";

type Table = "runs" | "tasks";

function changes<T extends Table>(before: Fields<T>, after: Fields<T>): Partial<Fields<T>> | null {
  const changed: Record<string, unknown> = {};
  const was = before as Record<string, unknown>;
  const is = after as Record<string, unknown>;
  for (const name of new Set([...Object.keys(was), ...Object.keys(is)])) {
    if (was[name] !== is[name]) changed[name] = is[name]; // absent: taken out of the document
  }
  return Object.keys(changed).length > 0 ? (changed as Partial<Fields<T>>) : null;
}

function fields<T extends Table>(doc: Doc<T>): Fields<T> {
  const { _id, _creationTime, ...rest } = doc;
  return rest as unknown as Fields<T>;
}

/** A run: its task, and what is known of it, once `Tx.fill` has read that. */
export class Row {
  task: Fields<"tasks">;
  readonly taskId: Doc<"tasks">["_id"];
  private taskBefore: Fields<"tasks">;
  private known: { run: Fields<"runs">; before: Fields<"runs"> } | null = null;

  constructor(task: Doc<"tasks">, run: Doc<"runs"> | null) {
    this.taskId = task._id;
    this.taskBefore = fields<"tasks">(task);
    this.task = { ...this.taskBefore };
    if (run !== null) this.fill(run);
  }

  get key(): Key {
    return this.task.key;
  }

  get id(): string {
    return this.task.run;
  }

  get filled(): boolean {
    return this.known !== null;
  }

  get run(): Fields<"runs"> {
    if (this.known === null) throw new Error(`run ${this.id} was not read`);
    return this.known.run;
  }

  /** Ended runs, and no others, stand in the closing lane. */
  get ended(): boolean {
    return this.task.lane === CLOSING_LANE;
  }

  fill(run: Doc<"runs">): void {
    const before = fields<"runs">(run);
    this.known = { run: { ...before }, before };
  }

  /** Fields that only indexes read follow from others; they are set here and nowhere else. */
  private derive(): void {
    this.task.dueLane = this.task.dueAt === undefined ? undefined : this.task.lane;
    if (this.task.owner === undefined || this.task.unread === 0) this.task.attention = undefined;
    if (this.known === null) return;
    const run = this.known.run;
    run.closedAt = run.closing ? undefined : run.endedAt;
    run.expiresAt =
      run.closedAt === undefined || run.keepSeconds === undefined ? undefined : run.closedAt + run.keepSeconds;
  }

  async flush(db: Writer): Promise<void> {
    this.derive();
    const task = changes<"tasks">(this.taskBefore, this.task);
    if (task !== null) {
      await db.patch(this.taskId, task);
      this.taskBefore = { ...this.task };
    }
    if (this.known === null) return;
    const run = changes<"runs">(this.known.before, this.known.run);
    if (run !== null) {
      await db.patch(this.key, run);
      this.known.before = { ...this.known.run };
    }
  }
}

export async function readTask(db: Reader, id: string): Promise<Doc<"tasks"> | null> {
  return await db
    .query("tasks")
    .withIndex("by_run", (q) => q.eq("run", id))
    .unique();
}

/** The rows that a read needs; null for runs that do not exist. */
export async function readRow(db: Reader, id: string): Promise<Row | null> {
  const task = await readTask(db, id);
  if (task === null) return null;
  const run = await db.get(task.key);
  return run === null ? null : new Row(task, run);
}

/** One mutation's view of the store: its time, and the rows it has read. */
export class Tx {
  private readonly rows = new Map<string, Row | null>();

  constructor(
    readonly db: Writer,
    readonly now: number,
  ) {}

  /** The row of a run, both documents read; null if there is none. */
  async row(id: string): Promise<Row | null> {
    const known = this.rows.get(id);
    if (known === null) return null;
    if (known !== undefined) {
      await this.fill([known]);
      return known;
    }
    const row = await readRow(this.db, id);
    this.rows.set(id, row);
    return row;
  }

  /** The row of a run of which only the task is needed. */
  async light(id: string): Promise<Row | null> {
    const known = this.rows.get(id);
    if (known !== undefined) return known;
    const task = await readTask(this.db, id);
    const row = task === null ? null : new Row(task, null);
    this.rows.set(id, row);
    return row;
  }

  /** Read the rows that will be needed, at once. */
  async preload(ids: Iterable<string>): Promise<void> {
    const missing = [...new Set(ids)].filter((id) => !this.rows.has(id));
    const found = await Promise.all(missing.map((id) => readRow(this.db, id)));
    missing.forEach((id, n) => this.rows.set(id, found[n] ?? null));
  }

  /** The row of a task that was found by an index; nothing else of the run is read yet. */
  adopt(task: Doc<"tasks">): Row {
    const known = this.rows.get(task.run);
    if (known) return known;
    const row = new Row(task, null);
    this.rows.set(task.run, row);
    return row;
  }

  /** A run that was made in this transaction. */
  async made(id: string, key: Key, taskId: Doc<"tasks">["_id"]): Promise<Row> {
    const [task, run] = await Promise.all([this.db.get(taskId), this.db.get(key)]);
    if (task === null || run === null) throw new Error(`run ${id} was made and is not there`);
    const row = new Row(task, run);
    this.rows.set(id, row);
    return row;
  }

  forget(id: string): void {
    this.rows.set(id, null);
  }

  async fill(rows: Row[]): Promise<void> {
    await Promise.all(
      rows.map(async (row) => {
        if (row.filled) return;
        const run = await this.db.get(row.key);
        if (run === null) throw new Error(`run ${row.id} has a task and no row`);
        if (!row.filled) row.fill(run);
      }),
    );
  }

  /** Write what has changed; needed before an index is read, and at the end. */
  async flush(): Promise<void> {
    await Promise.all([...this.rows.values()].map((row) => row?.flush(this.db)));
  }
}

export interface RunRecord {
  id: string;
  workflow: string;
  version?: string;
  queue: string;
  priority: number;
  status: string;
  generation: number;
  epoch: number;
  position: number;
  flushed: number[];
  strikes: number;
  tries: number;
  seed: string;
  digest: string;
  created_at: number;
  started_at?: number;
  at: number;
  ended_at?: number;
  due_at?: number;
  owner?: string;
  labels: string[][];
  parent?: Fields<"runs">["parent"];
  on_complete?: Bytes;
  waits: Wait[];
  blocked?: string;
  blocked_kind?: string;
  blocked_call?: string;
  error?: string;
  terminated: boolean;
  closing: boolean;
  rewind?: Bytes;
}

/** Bytes that a run's row, shown with its payloads, adds to an answer. */
export function weightOf(run: Pick<Fields<"runs">, "onComplete" | "rewind">): number {
  return ROW_BYTES + keptSize(run.onComplete ?? "") + keptSize(run.rewind ?? "");
}

const ROW_BYTES = 1_000;

/** The row as the protocol shows it. */
export async function record(db: Reader, row: Row): Promise<RunRecord> {
  const { task, run } = row;
  return {
    id: run.id,
    workflow: run.workflow,
    version: run.version,
    queue: run.queue,
    priority: run.priority,
    status: run.status,
    generation: run.generation,
    epoch: task.epoch,
    position: task.position,
    flushed: task.flushed,
    strikes: task.strikes,
    tries: run.tries,
    seed: run.seed,
    digest: run.digest,
    created_at: run.createdAt,
    started_at: run.startedAt,
    at: task.at,
    ended_at: run.endedAt,
    due_at: task.dueAt,
    owner: task.owner,
    labels: run.labels,
    parent: run.parent,
    on_complete: run.onComplete === undefined ? undefined : await fetched(db, run.onComplete),
    waits: task.waits,
    blocked: run.blocked,
    blocked_kind: run.blockedKind,
    blocked_call: run.blockedCall,
    error: run.error,
    terminated: run.terminated,
    closing: run.closing,
    rewind: run.rewind === undefined ? undefined : await fetched(db, run.rewind),
  };
}

/**
 * The executor: batches of mutations, each batch on one snapshot, and queries between them.
 *
 * The mutations of a batch run as if at the same time; then they commit one by one, and one whose reads an earlier
 * one has changed is run again. So conflicts arise as they do where transactions run in parallel.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "./database.ts";
import { RequestError } from "./errors.ts";
import { WrittenKeys } from "./reads.ts";
import type { Transaction } from "./transaction.ts";

export interface ExecutorOptions {
  /** How many mutations run on one snapshot. */
  readonly concurrency: number;
  /** The chance that a commit is refused as if it conflicted, 0 to 1. */
  chaos(): number;
  /** Whether the mutations of a batch commit in random order. */
  shuffle(): boolean;
  /** How long a batch waits for mutations that arrive meanwhile, in milliseconds. */
  overlap(): number;
  /** Called when commits cannot be made durable; nothing may be answered from then on. */
  onDiskFailure(error: unknown): void;
}

/** What a mutation's body leaves: to commit its writes, or to drop them. */
export interface Attempt<T> {
  readonly commit: boolean;
  readonly result: T;
}

interface Mutation {
  body(transaction: Transaction): Promise<Attempt<unknown>>;
  resolve(done: Committed<unknown>): void;
  reject(error: unknown): void;
  retries: number;
}

export interface Committed<T> {
  readonly result: T;
  /** The commit's timestamp, or that of the snapshot if nothing was written. */
  readonly ts: bigint;
}

const RETRIES_MAX = 4;
const BACKOFF_MS = 100;
const BACKOFF_MS_MAX = 2_000;

export type CommitListener = (written: WrittenKeys) => void;

export class Executor {
  /** How many times a mutation was run again because of a conflict. */
  conflicts = 0;
  private readonly database: Database;
  private readonly options: ExecutorOptions;
  private readonly listeners: CommitListener[] = [];
  private mutations: Mutation[] = [];
  private queries: (() => Promise<void>)[] = [];
  private publishing: Promise<void> = Promise.resolve();
  private running = false;

  constructor(database: Database, options: ExecutorOptions) {
    this.database = database;
    this.options = options;
  }

  /** Calls `listener` after each batch, when its commits are durable. */
  onCommit(listener: CommitListener): void {
    this.listeners.push(listener);
  }

  /**
   * Runs a mutation until it commits.
   *
   * Raises:
   *   RequestError: It conflicted each of the five times it ran; nothing was written.
   */
  mutate<T>(body: (transaction: Transaction) => Promise<Attempt<T>>): Promise<Committed<T>> {
    return new Promise<Committed<T>>((resolve, reject) => {
      this.enqueue({ body, resolve: resolve as Mutation["resolve"], reject, retries: 0 });
    });
  }

  /** Runs `body` while nothing is committed: all it reads is of one moment, and durable. */
  query<T>(body: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.queries.push(() => body().then(resolve, reject));
      this.wake();
    });
  }

  private enqueue(mutation: Mutation): void {
    this.mutations.push(mutation);
    this.wake();
  }

  private wake(): void {
    if (this.running) return;
    this.running = true;
    // What arrives in the same turn of the event loop shares a batch.
    setImmediate(() => void this.work());
  }

  private async work(): Promise<void> {
    while (this.mutations.length > 0 || this.queries.length > 0) {
      await this.runQueries();
      if (this.mutations.length > 0) {
        if (this.options.overlap() > 0) await sleep(this.options.overlap());
        const publish = await this.runBatch(this.mutations.splice(0, this.options.concurrency));
        // One batch may run while the one before it is forced to the disk; answers go out in order.
        await this.publishing;
        this.publishing = publish().catch((error: unknown) => this.options.onDiskFailure(error));
      }
      // Lets requests in that have arrived meanwhile.
      await new Promise(setImmediate);
    }
    this.running = false;
  }

  private async runQueries(): Promise<void> {
    if (this.queries.length === 0) return;
    // A query must not see what a crash could still undo.
    await this.publishing;
    const queries = this.queries;
    this.queries = [];
    for (const query of queries) await query();
  }

  /** Runs a batch and commits it in memory; what is returned makes it durable and answers. */
  private async runBatch(batch: readonly Mutation[]): Promise<() => Promise<void>> {
    const attempts: { mutation: Mutation; transaction: Transaction; attempt: Attempt<unknown> }[] = [];
    for (const mutation of batch) {
      const transaction = this.database.begin();
      try {
        attempts.push({ mutation, transaction, attempt: await mutation.body(transaction) });
      } catch (error) {
        mutation.reject(error);
      }
    }
    if (this.options.shuffle()) attempts.sort(() => Math.random() - 0.5);
    const written = new WrittenKeys();
    const answers: (() => void)[] = [];
    for (const { mutation, transaction, attempt } of attempts) {
      const ts = this.settle(transaction, attempt, written);
      if (ts === null) this.retry(mutation);
      else answers.push(() => mutation.resolve({ result: attempt.result, ts }));
    }
    return async () => {
      await this.database.flush();
      for (const answer of answers) answer();
      if (!written.isEmpty) for (const listener of this.listeners) listener(written);
    };
  }

  /** The timestamp at which the attempt stands; null if it conflicts. */
  private settle(transaction: Transaction, attempt: Attempt<unknown>, written: WrittenKeys): bigint | null {
    if (!attempt.commit || transaction.overlay.isEmpty) return transaction.snapshotTs;
    if (written.touches(transaction.reads) || Math.random() < this.options.chaos()) return null;
    return this.database.commit(transaction, written);
  }

  private retry(mutation: Mutation): void {
    this.conflicts += 1;
    if (mutation.retries === RETRIES_MAX) {
      mutation.reject(
        new RequestError(
          503,
          "OptimisticConcurrencyControlFailure",
          "Data read or written in this mutation changed while it was being run. Consider reducing the amount of data read by " +
            "using indexed queries with selective index range expressions (https://docs.convex.dev/database/indexes/).",
        ),
      );
      return;
    }
    const longest = Math.min(BACKOFF_MS * 2 ** mutation.retries, BACKOFF_MS_MAX);
    mutation.retries += 1;
    setTimeout(() => this.enqueue(mutation), longest * (0.5 + Math.random() / 2));
  }
}

/** Results of subscribed queries, shared by all sockets, until a commit touches what they read. */
import type { QueryOutcome } from "./call.ts";
import type { Index } from "./indexes.ts";
import type { WrittenKeys } from "./reads.ts";

/** A result that holds until it is told otherwise. */
export class SharedResult {
  readonly query: QueryOutcome;
  isValid = true;
  private readonly key: string;
  private readonly watchers = new Set<() => void>();
  private readonly owner: SharedQueries;

  constructor(owner: SharedQueries, key: string, query: QueryOutcome) {
    this.owner = owner;
    this.key = key;
    this.query = query;
  }

  /** Calls `watcher` when the result no longer holds. */
  watch(watcher: () => void): void {
    this.watchers.add(watcher);
  }

  /** Forgets the result once nobody watches it. */
  unwatch(watcher: () => void): void {
    this.watchers.delete(watcher);
    if (this.watchers.size === 0) this.owner.drop(this.key, this);
  }

  invalidate(): void {
    this.isValid = false;
    this.owner.drop(this.key, this);
    for (const watcher of this.watchers) watcher();
  }
}

export class SharedQueries {
  private readonly results = new Map<string, SharedResult>();
  private readonly byIndex = new Map<Index, Set<SharedResult>>();

  /** The result for this key; `run` makes it if there is none. Only inside `executor.query`. */
  async get(key: string, run: () => Promise<QueryOutcome>): Promise<SharedResult> {
    const known = this.results.get(key);
    if (known !== undefined) return known;
    const result = new SharedResult(this, key, await run());
    this.results.set(key, result);
    for (const index of result.query.reads.intervals.keys()) this.entriesOf(index).add(result);
    return result;
  }

  private entriesOf(index: Index): Set<SharedResult> {
    let entries = this.byIndex.get(index);
    if (entries === undefined) this.byIndex.set(index, (entries = new Set()));
    return entries;
  }

  drop(key: string, result: SharedResult): void {
    if (this.results.get(key) === result) this.results.delete(key);
    for (const index of result.query.reads.intervals.keys()) this.byIndex.get(index)?.delete(result);
  }

  /** Ends the results that these writes make stale. */
  onCommit(written: WrittenKeys): void {
    const stale = new Set<SharedResult>();
    for (const index of written.indexes()) {
      for (const result of this.byIndex.get(index) ?? []) {
        if (!stale.has(result) && written.touches(result.query.reads)) stale.add(result);
      }
    }
    for (const result of stale) result.invalidate();
  }
}

/** Lists and counts of runs, newest first: the index that leaves the least to look at, and a bound on looking. */
import { ConvexError } from "convex/values";
import type { Doc, Reader } from "./functions";
import { after, at, compare, isPlace } from "./places";
import { PAGE_SIZE_MAX, type RunQuery, type Status } from "./values";

type Run = Doc<"runs">;
type Label = Doc<"labels">;

/** Rows that one question looks at; the cursor then says where to go on. */
const LOOK_MAX = 2_000;
const CHUNK = 100;

interface Bounds {
  above: string;
  below: string;
}

export interface Found {
  runs: Run[];
  cursor: string | null;
}

export class Invalid extends Error {}

export function readCursor(cursor: string): string {
  if (isPlace(cursor)) return cursor;
  throw new Invalid(`The cursor ${JSON.stringify(cursor.slice(0, 40))} is not one of this store's.`);
}

/** Runs that match, in order: at most `limit`, from below the cursor on. */
export async function find(
  db: Reader,
  query: RunQuery,
  limit: number,
  cursor: string | null | undefined,
): Promise<Found> {
  const bounds = boundsOf(query, cursor);
  const streams = leads(query).map((status) => new Stream(db, query, status, { ...bounds }));
  const runs: Run[] = [];
  for (let looked = 0; ; looked += 1) {
    const next = await latest(streams);
    if (next === null) return { runs, cursor: null };
    if (looked >= LOOK_MAX) return { runs, cursor: `${successor(next.place)}` };
    if (matches(next.run, query)) {
      if (runs.length === limit) return { runs, cursor: runs[runs.length - 1]?.place ?? null };
      runs.push(next.run);
    }
    next.stream.shift();
  }
}

/** The statuses that have an index range each; none where a label or a parent leads, whose ranges hold every status. */
function leads(query: RunQuery): (Status | undefined)[] {
  const { statuses = [], labels = [], parent } = query;
  return statuses.length === 0 || labels.length > 0 || parent != null ? [undefined] : [...new Set(statuses)];
}

/** The least place above this one: a range below it begins with this one. */
function successor(place: string): string {
  return `${place}\u0000`;
}

function boundsOf(query: RunQuery, cursor: string | null | undefined): Bounds {
  const above = query.created_after == null ? "" : after(query.created_after);
  const tops = ["~"]; // above every place, which begin with hexadecimal digits
  if (query.created_before != null) tops.push(at(query.created_before));
  if (cursor != null) tops.push(readCursor(cursor));
  return { above, below: tops.reduce((least, top) => (compare(top, least) < 0 ? top : least)) };
}

function matches(run: Run, query: RunQuery): boolean {
  const labels = new Map(run.labels.map(([name = "", value = ""]) => [name, value]));
  return (
    (query.workflow == null || run.workflow === query.workflow) &&
    (query.queue == null || run.queue === query.queue) &&
    (query.parent == null || run.parent?.run === query.parent) &&
    (query.id_prefix == null || run.id.startsWith(query.id_prefix)) &&
    (query.statuses === undefined || query.statuses.length === 0 || query.statuses.includes(run.status)) &&
    (query.labels ?? []).every(([name = "", value = ""]) => labels.get(name) === value)
  );
}

async function latest(streams: readonly Stream[]): Promise<{ run: Run; place: string; stream: Stream } | null> {
  let best: { run: Run; place: string; stream: Stream } | null = null;
  const heads = await Promise.all(streams.map((stream) => stream.head()));
  heads.forEach((run, n) => {
    const stream = streams[n];
    if (run === null || stream === undefined) return;
    if (best === null || compare(run.place, best.place) > 0) best = { run, place: run.place, stream };
  });
  return best;
}

/** The runs of one index range, newest first, a chunk at a time. */
class Stream {
  private chunk: Run[] = [];
  private done = false;
  private next = 0;

  constructor(
    private readonly db: Reader,
    private readonly query: RunQuery,
    private readonly status: Status | undefined,
    private readonly bounds: Bounds,
  ) {}

  async head(): Promise<Run | null> {
    while (this.next >= this.chunk.length && !this.done) await this.more();
    return this.chunk[this.next] ?? null;
  }

  shift(): void {
    this.next += 1;
  }

  private async more(): Promise<void> {
    const [label] = this.query.labels ?? [];
    this.next = 0;
    if (label !== undefined && this.query.parent == null) {
      const rows = await this.labelled(label[0] ?? "", label[1] ?? "");
      this.advance(rows.map((row) => row.place));
      const runs = await Promise.all(rows.map((row) => this.db.get(row.key)));
      this.chunk = runs.filter((run): run is Run => run !== null);
      return;
    }
    this.chunk = await this.range().order("desc").take(CHUNK);
    this.advance(this.chunk.map((run) => run.place));
  }

  private advance(places: readonly string[]): void {
    this.done = places.length < CHUNK;
    this.bounds.below = places[places.length - 1] ?? this.bounds.below;
  }

  private async labelled(name: string, value: string): Promise<Label[]> {
    const { above, below } = this.bounds;
    return await this.db
      .query("labels")
      .withIndex("by_label", (q) => q.eq("name", name).eq("value", value).gt("place", above).lt("place", below))
      .order("desc")
      .take(CHUNK);
  }

  private range() {
    const { above, below } = this.bounds;
    const { status } = this;
    const { workflow, parent } = this.query;
    const runs = this.db.query("runs");
    if (parent != null) {
      return runs.withIndex("by_parent", (q) => q.eq("parentRun", parent).gt("place", above).lt("place", below));
    }
    if (workflow != null && status !== undefined) {
      return runs.withIndex("by_workflow_status", (q) =>
        q.eq("workflow", workflow).eq("status", status).gt("place", above).lt("place", below),
      );
    }
    if (workflow != null) {
      return runs.withIndex("by_workflow", (q) => q.eq("workflow", workflow).gt("place", above).lt("place", below));
    }
    if (status !== undefined) {
      return runs.withIndex("by_status", (q) => q.eq("status", status).gt("place", above).lt("place", below));
    }
    return runs.withIndex("by_place", (q) => q.gt("place", above).lt("place", below));
  }
}

/** How many match, of as many as one question looks at. */
export async function count(
  db: Reader,
  query: RunQuery,
  cursor: string | null | undefined,
): Promise<{ count: number; cursor: string | null }> {
  const found = await find(db, query, Infinity, cursor);
  return { count: found.runs.length, cursor: found.cursor };
}

/** Whether a page may be asked for like this; the answer says so as a value, for the adapter raises its own error. */
export function checked(limit: number): void {
  if (!(limit >= 1 && limit <= PAGE_SIZE_MAX)) {
    throw new Invalid(`A page has 1 to ${PAGE_SIZE_MAX} runs, not ${limit}.`);
  }
}

export function unknown(what: never): never {
  throw new ConvexError({ code: "PROTOCOL", message: `unknown request ${JSON.stringify(what)}` });
}

/** The claim index: what is due in which lane, in the order in which it is claimed. */
import type { Doc, Reader } from "./functions";

export const AGED_SECONDS = 60;
/** Due runs that one poll looks at; the next poll goes on. */
const SEEN_MAX = 2_000;
/** Priorities of a lane that are told apart; below them runs are claimed in the order in which they are due. */
const RANKS_MAX = 32;
/** Runs of higher priorities that are passed over on the way to the first below them. */
const PASSED_MAX = 1_000;

export interface Head {
  lane: string;
  rank: number;
  task: Doc<"tasks">;
  /** Whether it stands for every rank from its own on, of which there are too many to look at each. */
  below: boolean;
}

/** The earliest due run of each lane and priority that has anything due, now or later. */
export async function heads(db: Reader, lanes: Iterable<string>): Promise<Head[]> {
  const found = await Promise.all([...new Set(lanes)].map((lane) => headsOf(db, lane)));
  return found.flat();
}

/** One step of the index per priority, however much lies behind each; one more for all that are too many. */
async function headsOf(db: Reader, lane: string): Promise<Head[]> {
  const found: Head[] = [];
  for (let rank = -Infinity; ;) {
    if (found.length === RANKS_MAX) return [...found, ...(await headBelow(db, lane, rank))];
    const task = await db
      .query("tasks")
      .withIndex("by_due", (q) => q.eq("dueLane", lane).gt("rank", rank))
      .first();
    if (task === null) return found;
    found.push({ lane, rank: task.rank, task, below: false });
    rank = task.rank;
  }
}

async function headBelow(db: Reader, lane: string, rank: number): Promise<Head[]> {
  for await (const task of dueBelow(db, lane, rank)) return [{ lane, rank, task, below: true }];
  return [];
}

/** The runs of a lane below a priority, by due time. */
async function* dueBelow(db: Reader, lane: string, rank: number): AsyncGenerator<Doc<"tasks">> {
  let passed = 0;
  for await (const task of db.query("tasks").withIndex("by_lane_due", (q) => q.eq("dueLane", lane))) {
    if (task.rank > rank) yield task;
    else if ((passed += 1) >= PASSED_MAX) return; // these come first, and so they may
  }
}

function dueOf(db: Reader, lane: string, rank: number): AsyncIterator<Doc<"tasks">> {
  return db
    .query("tasks")
    .withIndex("by_due", (q) => q.eq("dueLane", lane).eq("rank", rank))
    [Symbol.asyncIterator]();
}

export function earliest(found: Iterable<Head>): number | undefined {
  let first: number | undefined;
  for (const { task } of found) {
    if (task.dueAt !== undefined && (first === undefined || task.dueAt < first)) first = task.dueAt;
  }
  return first;
}

/** Whether one comes before the other: aged ones, then by priority, then by due time, then the older run. */
function precedes(one: Doc<"tasks">, other: Doc<"tasks">, agedBefore: number): boolean {
  const [due, otherDue] = [one.dueAt ?? 0, other.dueAt ?? 0];
  const [aged, otherAged] = [due < agedBefore, otherDue < agedBefore];
  if (aged !== otherAged) return aged;
  if (one.rank !== other.rank) return one.rank < other.rank;
  if (due !== otherDue) return due < otherDue;
  return one._creationTime < other._creationTime;
}

interface Bucket {
  head: Doc<"tasks"> | null;
  rest: AsyncIterator<Doc<"tasks">>;
}

/** Due runs in claim order, over all lanes; nothing may be written to `tasks` while it is read. */
export class DueRuns {
  private readonly buckets: Bucket[];
  private seen = 0;

  constructor(
    db: Reader,
    found: readonly Head[],
    private readonly now: number,
  ) {
    this.buckets = found
      .filter((head) => (head.task.dueAt ?? now) <= now)
      .map(({ lane, rank, task, below }) => ({
        head: task,
        rest: below ? dueBelow(db, lane, rank) : dueOf(db, lane, rank),
      }));
  }

  /** The next due run, which is thereby taken out; null if there is none, or enough was looked at. */
  async next(): Promise<Doc<"tasks"> | null> {
    if (this.seen >= SEEN_MAX) return null;
    let best: Bucket | null = null;
    for (const bucket of this.buckets) {
      if (bucket.head === null || (bucket.head.dueAt ?? 0) > this.now) continue;
      if (best?.head == null || precedes(bucket.head, best.head, this.now - AGED_SECONDS)) best = bucket;
    }
    const taken = best?.head ?? null;
    if (best === null || taken === null) return null;
    this.seen += 1;
    best.head = await following(best, taken);
    return taken;
  }

  /** The earliest due time among what was not taken. */
  left(): number | undefined {
    const dues = this.buckets.flatMap(({ head }) => (head?.dueAt === undefined ? [] : [head.dueAt]));
    return dues.length > 0 ? Math.min(...dues) : undefined;
  }

  async close(): Promise<void> {
    await Promise.all(this.buckets.map(({ rest }) => rest.return?.(undefined)));
  }
}

/** What comes after `taken`; the head was read apart, so the iterator meets it first. */
async function following(bucket: Bucket, taken: Doc<"tasks">): Promise<Doc<"tasks"> | null> {
  for (;;) {
    const next = await bucket.rest.next();
    if (next.done === true) return null;
    if (next.value._id !== taken._id) return next.value;
  }
}

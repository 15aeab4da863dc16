/** What `Store.poll` does, in its order. */
import { DueRuns, earliest, heads, type Head } from "./claims";
import { lettersAfter, type InboxMessage } from "./messages";
import { fetched, keptSize } from "./payloads";
import { record, weightOf, type Row, type RunRecord, type Tx } from "./rows";
import { hold, raiseEpoch } from "./runs";
import { beat, idle, leaseEnd, noted, owned, reap, release } from "./sessions";
import {
  CLOSING_LANE,
  laneKey,
  PAGE_BYTES_MAX,
  PAGE_SIZE_MAX,
  type Bytes,
  type SentPoll,
  type Want,
  type WorkerSession,
} from "./values";

/** Claims of one poll at most, each of which takes up to four reads of the 4,096 that a transaction may make. */
const CLAIMS_MAX = 250;

interface Taken {
  run: string;
  epoch: number;
  lonely: boolean;
}

interface Claim {
  run: RunRecord;
  input: Bytes;
  messages: InboxMessage[];
  lonely: boolean;
}

export interface Poll {
  now: number;
  claims: Claim[];
  messages: InboxMessage[];
  lost: string[];
  next_due_at?: number;
}

/** What the answer may still carry. */
interface Budget {
  bytes: number;
}

/**
 * See `Store.poll`. A poll that comes after a later one of its client was held up on the way: nobody waits for its
 * answer, and the runs that it does not know of yet must not be released.
 */
export async function poll(tx: Tx, worker: WorkerSession, want: Want, sent?: SentPoll | null): Promise<Poll> {
  const { session, lease } = await beat(tx, worker); // (1)
  const { lastSent } = lease;
  const late = sent != null && sent.line === lastSent?.line && sent.number < lastSent.number;
  if (late) return { now: tx.now, claims: [], messages: [], lost: [] };
  await reap(tx, want.lonely_after); // (2)
  await tx.flush();
  const repeated = lease.lastPoll === want.poll_id;
  const mine = await reconcile(tx, worker.id, want, repeated ? lease.lastClaims : []); // (3)
  await tx.flush();
  const lanes = new Map(want.lanes.map((lane) => [laneKey(lane.queue, lane.workflow, lane.version), lane.pin ?? null]));
  const found = await heads(tx.db, lanes.keys());
  const budget: Budget = { bytes: PAGE_BYTES_MAX };
  let claims = lease.lastClaims;
  let due = earliest(found);
  if (!repeated) {
    ({ claims, due } = await claim(tx, worker.id, want, lanes, found)); // (4)
    for (const { run } of claims) mine.set(run, await known(tx, run));
    await tx.flush();
  }
  const owns = (run: string, epoch: number): boolean => mine.get(run)?.task.epoch === epoch;
  const stillHeld = want.held.filter((one) => owns(one.run, one.epoch));
  const lostRuns = session.lostRuns && stillHeld.length < want.held.length;
  if (!repeated) {
    await tx.db.patch(lease._id, { lastPoll: want.poll_id, lastClaims: claims, lastSent: sent ?? undefined });
  }
  await noted(tx, session, [...lanes.keys()], lostRuns);
  if (mine.size === 0 && want.idle_lease_seconds) await idle(tx, worker.id, want.idle_lease_seconds);
  const answered = claims.filter(({ run, epoch }) => owns(run, epoch));
  const leases = await leaseEnd(tx.db, worker.id, new Set(lanes.keys()));
  const instants = [due, leases].filter((instant): instant is number => instant !== undefined);
  return {
    now: tx.now,
    claims: await answers(tx, answered, budget),
    messages: await news(tx, mine, stillHeld, budget),
    lost: want.held.filter((one) => !owns(one.run, one.epoch)).map((one) => one.run),
    next_due_at: instants.length > 0 ? Math.min(...instants) : undefined,
  };
}

/** Runs that the session owns without knowing it are released: the answer that said so was lost. */
async function reconcile(tx: Tx, session: string, want: Want, lastClaims: readonly Taken[]): Promise<Map<string, Row>> {
  const named = new Map(want.held.map((one) => [one.run, one.epoch]));
  const claimed = new Map(lastClaims.map((one) => [one.run, one.epoch]));
  const mine = new Map<string, Row>();
  for (const row of await owned(tx, session)) {
    const { epoch } = row.task;
    if (named.get(row.id) === epoch || claimed.get(row.id) === epoch) mine.set(row.id, row);
    else release(row, tx.now, false, want.lonely_after);
  }
  return mine;
}

async function known(tx: Tx, run: string): Promise<Row> {
  const row = await tx.row(run);
  if (row === null) throw new Error(`run ${run} was claimed and is not there`);
  return row;
}

interface Picked {
  take: { row: Row; lonely: boolean }[];
  block: Row[];
  due: number | undefined;
}

/** Choose due runs, in order, until there are enough. Nothing is written yet. */
async function pick(tx: Tx, want: Want, found: readonly Head[]): Promise<Picked> {
  const runs = new DueRuns(tx.db, found, tx.now);
  const picked: Picked = { take: [], block: [], due: undefined };
  const later: number[] = [];
  let lonelyTaken = false;
  while (picked.take.length < Math.min(want.limit, CLAIMS_MAX)) {
    const task = await runs.next();
    if (task === null) break;
    const lonely = task.lane !== CLOSING_LANE && task.strikes >= want.lonely_after;
    if (lonely && task.strikes >= want.lonely_after + want.crash_budget) {
      picked.block.push(tx.adopt(task));
    } else if (lonely && lonelyTaken) {
      later.push(task.dueAt ?? tx.now);
    } else {
      lonelyTaken ||= lonely;
      picked.take.push({ row: tx.adopt(task), lonely });
    }
  }
  await runs.close();
  const ahead = earliest(found.filter(({ task }) => (task.dueAt ?? 0) > tx.now));
  const dues = [ahead, runs.left(), ...later].filter((due): due is number => due !== undefined);
  picked.due = dues.length > 0 ? Math.min(...dues) : undefined;
  return picked;
}

/** Take due runs for the session; inputs that would make the answer too large stay due. */
async function claim(
  tx: Tx,
  session: string,
  want: Want,
  lanes: ReadonlyMap<string, string | null>,
  found: readonly Head[],
): Promise<{ claims: Taken[]; due: number | undefined }> {
  if (want.limit <= 0) return { claims: [], due: earliest(found) };
  const picked = await pick(tx, want, found);
  const [, tide] = await Promise.all([
    tx.fill([...picked.block, ...picked.take.map(({ row }) => row)]),
    tx.db.query("tide").first(),
  ]);
  for (const row of picked.block) block(row);
  const claims: Taken[] = [];
  let { due } = picked;
  let room = PAGE_BYTES_MAX;
  for (const { row, lonely } of picked.take) {
    room -= keptSize(row.run.input) + weightOf(row.run);
    if (room < 0 && claims.length > 0) {
      due = Math.min(due ?? tx.now, row.task.dueAt ?? tx.now);
      continue;
    }
    take(row, session, lanes.get(row.task.lane) ?? null, tide?.epochsPurged ?? 0, tx.now);
    claims.push({ run: row.id, epoch: row.task.epoch, lonely });
  }
  return { claims, due };
}

function take(row: Row, session: string, pin: string | null, epochsPurged: number, now: number): void {
  const { task } = row;
  task.epoch = Math.max(task.epoch, epochsPurged); // an earlier run of this id may have a worker that lives on
  raiseEpoch(row);
  if (!row.ended) {
    const { run } = row;
    if (run.version === undefined && pin !== null) {
      run.version = pin;
      task.lane = laneKey(run.queue, run.workflow, pin);
    }
    run.status = "running";
    task.strikes += 1;
    if (run.startedAt === undefined) {
      task.at = Math.max(now, task.at);
      run.startedAt = task.at;
    }
  }
  task.dueAt = undefined;
  task.owner = session;
}

/** The crash budget is spent. The strikes stay, for people to see; resume forgets them. */
function block(row: Row): void {
  hold(row, "blocked", undefined);
  row.run.blockedKind = "crash_budget";
  row.run.blocked = `${row.task.strikes} workers claimed this run and none of them made progress.`;
  row.run.blockedCall = undefined;
}

async function answers(tx: Tx, claims: readonly Taken[], budget: Budget): Promise<Claim[]> {
  const rows = await Promise.all(claims.map(({ run }) => known(tx, run)));
  for (const row of rows) budget.bytes -= keptSize(row.run.input) + weightOf(row.run);
  const found: Claim[] = [];
  for (const [n, row] of rows.entries()) {
    const messages = await unread(tx, row, 0, budget);
    const input = await fetched(tx.db, row.run.input);
    found.push({ run: await record(tx.db, row), input, messages, lonely: claims[n]?.lonely ?? false });
  }
  return found;
}

/** Unread messages; what would make the answer too large comes with a later poll. */
async function unread(tx: Tx, row: Row, seen: number, budget: Budget): Promise<InboxMessage[]> {
  if (row.task.unread === 0 || budget.bytes <= 0) return [];
  const page = await lettersAfter(tx.db, row, seen, PAGE_SIZE_MAX, true, budget.bytes);
  budget.bytes -= page.bytes;
  return page.messages;
}

async function news(
  tx: Tx,
  mine: ReadonlyMap<string, Row>,
  held: readonly Want["held"][number][],
  budget: Budget,
): Promise<InboxMessage[]> {
  const found: InboxMessage[] = [];
  for (const one of held) {
    const row = mine.get(one.run);
    if (row !== undefined) found.push(...(await unread(tx, row, one.seen ?? 0, budget)));
  }
  return found;
}

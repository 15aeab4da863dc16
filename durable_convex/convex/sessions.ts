/** Worker sessions: their leases, and what becomes of their runs when those end. */
import type { Doc, Reader } from "./functions";
import type { Row, Tx } from "./rows";
import { CLOSING_LANE, type WorkerSession } from "./values";

type Session = Doc<"sessions">;
type Lease = Doc<"leases">;

const FORGET_SECONDS = 2 * 86_400; // dead sessions are remembered for a day at least; this is twice that
/** Runs that one poll takes from expired sessions; the next poll goes on. */
const REAP_MAX = 1_000;
const FORGET_MAX = 50;
/** Leases of others that one poll looks at; looking again when the next of them ends does no harm. */
const LEASES_MAX = 100;

export async function findSession(db: Reader, id: string): Promise<Session | null> {
  return await db
    .query("sessions")
    .withIndex("by_session", (q) => q.eq("session", id))
    .unique();
}

async function findLease(db: Reader, id: string): Promise<Lease | null> {
  return await db
    .query("leases")
    .withIndex("by_session", (q) => q.eq("session", id))
    .unique();
}

function same(one: readonly unknown[], other: readonly unknown[]): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** The session's row and its lease, renewed. */
export async function beat(tx: Tx, worker: WorkerSession): Promise<{ session: Session; lease: Lease }> {
  const [session, lease] = await Promise.all([introduced(tx, worker), renewed(tx, worker)]);
  return { session, lease };
}

async function renewed(tx: Tx, worker: WorkerSession): Promise<Lease> {
  const known = await findLease(tx.db, worker.id);
  const fresh = { seenAt: tx.now, expiresAt: tx.now + worker.lease_seconds, reaped: false };
  if (known !== null) {
    await tx.db.patch(known._id, fresh);
    return { ...known, ...fresh };
  }
  const made = await tx.db.get(await tx.db.insert("leases", { session: worker.id, ...fresh, lastClaims: [] }));
  if (made === null) throw new Error("a lease was made and is not there");
  return made;
}

async function introduced(tx: Tx, worker: WorkerSession): Promise<Session> {
  const known = await findSession(tx.db, worker.id);
  const said = { name: worker.name, registered: worker.registered ?? [], queues: worker.queues ?? [] };
  if (known !== null) {
    const { name, registered, queues } = known;
    if (name === said.name && same(registered, said.registered) && same(queues, said.queues)) return known;
    await tx.db.patch(known._id, said);
    return { ...known, ...said };
  }
  const first = { session: worker.id, ...said, startedAt: tx.now, lostRuns: false, lanes: [] };
  const made = await tx.db.get(await tx.db.insert("sessions", first));
  if (made === null) throw new Error("a session was made and is not there");
  return made;
}

/** What a poll has said of its session. Nothing is written where nothing is new, for `watch` reads it. */
export async function noted(tx: Tx, session: Session, lanes: string[], lostRuns: boolean): Promise<void> {
  if (session.lostRuns === lostRuns && same(session.lanes, lanes)) return;
  await tx.db.patch(session._id, { lanes, lostRuns });
}

/** The lease of a session that holds nothing keeps nobody waiting, so it may be long: polls alone keep it alive. */
export async function idle(tx: Tx, session: string, seconds: number): Promise<void> {
  const lease = await findLease(tx.db, session);
  if (lease !== null) await tx.db.patch(lease._id, { expiresAt: tx.now + seconds });
}

/** The runs that a session owns; of each only its task is read. */
export async function owned(tx: Tx, session: string): Promise<Row[]> {
  const tasks = await tx.db
    .query("tasks")
    .withIndex("by_owner", (q) => q.eq("owner", session))
    .collect();
  return tasks.map((task) => tx.adopt(task));
}

/** Seconds before a run is claimable again whose owner was lost. */
function backOff(strikes: number, lonelyAfter: number): number {
  return strikes < lonelyAfter ? 0 : Math.min(60, 2 ** Math.min(strikes - lonelyAfter, 6));
}

/** The owner is gone without a commit: the run is claimable at once, or after a back-off. */
export function release(row: Row, now: number, strike: boolean, lonelyAfter: number | null): void {
  const { task } = row;
  task.owner = undefined;
  if (task.lane === CLOSING_LANE) {
    task.dueAt = now;
    return;
  }
  if (!strike) task.strikes = Math.max(0, task.strikes - 1);
  task.dueAt = lonelyAfter === null ? now : now + backOff(task.strikes, lonelyAfter);
}

/** Sessions whose lease has run out lose what they hold; those long dead are forgotten. */
export async function reap(tx: Tx, lonelyAfter: number): Promise<void> {
  const expired = await tx.db
    .query("leases")
    .withIndex("by_expiry", (q) => q.eq("reaped", false).lte("expiresAt", tx.now))
    .take(FORGET_MAX);
  let room = REAP_MAX;
  for (const lease of expired) {
    const tasks = await tx.db
      .query("tasks")
      .withIndex("by_owner", (q) => q.eq("owner", lease.session))
      .take(room + 1);
    for (const task of tasks.slice(0, room)) release(tx.adopt(task), tx.now, true, lonelyAfter);
    if (tasks.length > 0) await lose(tx, lease.session);
    if (tasks.length > room) break;
    room -= tasks.length;
    await tx.db.patch(lease._id, { reaped: true });
  }
  await forgetOld(tx);
}

async function lose(tx: Tx, id: string): Promise<void> {
  const session = await findSession(tx.db, id);
  if (session !== null && !session.lostRuns) await tx.db.patch(session._id, { lostRuns: true });
}

async function forgetOld(tx: Tx): Promise<void> {
  const old = await tx.db
    .query("leases")
    .withIndex("by_expiry", (q) => q.eq("reaped", true).lt("expiresAt", tx.now - FORGET_SECONDS))
    .take(FORGET_MAX);
  for (const lease of old) {
    const session = await findSession(tx.db, lease.session);
    if (session !== null) await tx.db.delete(session._id);
    await tx.db.delete(lease._id);
  }
}

/** When the first lease ends that another session has on a run of these lanes; or earlier, where there are many. */
export async function leaseEnd(db: Reader, self: string, lanes: ReadonlySet<string>): Promise<number | undefined> {
  if (lanes.size === 0) return undefined;
  const living = db.query("leases").withIndex("by_expiry", (q) => q.eq("reaped", false));
  let looked = 0;
  for await (const lease of living) {
    if (lease.session === self) continue;
    looked += 1;
    if (looked > LEASES_MAX || (await holdsAny(db, lease.session, lanes))) return lease.expiresAt;
  }
  return undefined;
}

/** Whether the session owns a run of one of these lanes: one step of the index per lane that it owns runs of. */
async function holdsAny(db: Reader, session: string, lanes: ReadonlySet<string>): Promise<boolean> {
  for (let last = ""; ;) {
    const task = await db
      .query("tasks")
      .withIndex("by_owner", (q) => q.eq("owner", session).gt("lane", last))
      .first();
    if (task === null) return false;
    if (lanes.has(task.lane)) return true;
    last = task.lane;
  }
}

/** See `Store.renew`; the bad news stays until a poll shows that it was heard: an answer may be late, or lost. */
export async function renew(tx: Tx, worker: WorkerSession): Promise<boolean> {
  return !(await beat(tx, worker)).session.lostRuns;
}

/** See `Store.leave`. */
export async function leave(tx: Tx, id: string): Promise<null> {
  const lease = await findLease(tx.db, id);
  if (lease === null) return null;
  await tx.db.patch(lease._id, { expiresAt: Math.min(lease.expiresAt, tx.now), reaped: false });
  for (const row of await owned(tx, id)) release(row, tx.now, false, null);
  await tx.flush();
  return null;
}

/** See `Store.sessions`; newest first. */
export async function sessions(db: Reader, now: number): Promise<object[]> {
  const [known, leases] = await Promise.all([db.query("sessions").collect(), db.query("leases").collect()]);
  const bySession = new Map(leases.map((lease) => [lease.session, lease]));
  const records = await Promise.all(
    known.map(async (one) => {
      const lease = bySession.get(one.session);
      const expiresAt = lease?.expiresAt ?? one.startedAt;
      const held = await heldBy(db, one.session, lease);
      return {
        id: one.session,
        name: one.name,
        registered: one.registered,
        queues: one.queues,
        started_at: one.startedAt,
        seen_at: lease?.seenAt ?? one.startedAt,
        expires_at: expiresAt,
        alive: expiresAt > now,
        held,
      };
    }),
  );
  return records.sort((one, other) => other.started_at - one.started_at || (one.id < other.id ? 1 : -1));
}

async function heldBy(db: Reader, session: string, lease: Lease | undefined): Promise<number> {
  if (lease === undefined || lease.reaped) return 0;
  const tasks = db.query("tasks").withIndex("by_owner", (q) => q.eq("owner", session));
  return (await tasks.take(HELD_SHOWN_MAX)).length;
}

const HELD_SHOWN_MAX = 2_000;

/** Looking the store over, a page of runs at a time. */
import type { Doc, Reader } from "./functions";
import { readCursor } from "./listing";
import { readTask } from "./rows";
import { CLOSING_LANE, ENDED, laneKey } from "./values";

type Run = Doc<"runs">;
type Task = Doc<"tasks">;

const PAGE = 100;

async function page(db: Reader, cursor: string | null | undefined): Promise<{ runs: Run[]; cursor: string | null }> {
  const above = cursor == null ? "" : readCursor(cursor);
  const runs = await db
    .query("runs")
    .withIndex("by_place", (q) => q.gt("place", above))
    .take(PAGE);
  return { runs, cursor: runs.length < PAGE ? null : (runs[runs.length - 1]?.place ?? null) };
}

/** One line for each thing that cannot be. */
export async function check(
  db: Reader,
  cursor: string | null | undefined,
): Promise<{ problems: string[]; cursor: string | null }> {
  const { runs, cursor: next } = await page(db, cursor);
  const found = await Promise.all(runs.map((run) => problemsOf(db, run)));
  return { problems: found.flat(), cursor: next };
}

async function problemsOf(db: Reader, run: Run): Promise<string[]> {
  const task = await readTask(db, run.id);
  if (task === null) return [`run ${run.id}: it has no task`];
  const lines = [...wrongs(run, task)];
  if (task.owner !== undefined && !(await sessionKnown(db, task.owner))) {
    lines.push("owned by a session that the store does not know");
  }
  const [last, unread] = await Promise.all([
    db
      .query("journal")
      .withIndex("by_position", (q) => q.eq("key", run._id).eq("generation", run.generation))
      .order("desc")
      .first(),
    db
      .query("messages")
      .withIndex("by_unread", (q) => q.eq("key", run._id).eq("unread", true))
      .first(),
  ]);
  if ((last === null ? 0 : last.position + 1) !== task.position) {
    lines.push("its journal is not as long as its row says");
  }
  if ((unread !== null) !== task.unread > 0) lines.push("its unread messages are miscounted");
  return lines.map((line) => `run ${run.id}: ${line}`);
}

async function sessionKnown(db: Reader, id: string): Promise<boolean> {
  const session = await db
    .query("sessions")
    .withIndex("by_session", (q) => q.eq("session", id))
    .first();
  return session !== null;
}

function* wrongs(run: Run, task: Task): Generator<string> {
  const ended = ENDED.has(run.status);
  const lane = ended ? CLOSING_LANE : laneKey(run.queue, run.workflow, run.version);
  if (task.key !== run._id) yield "its task is another's";
  if (task.owner !== undefined && task.dueAt !== undefined) yield "owned and due";
  if (ended !== (run.outcome !== undefined) || ended !== (run.endedAt !== undefined)) yield "half ended";
  if (task.lane !== lane) yield "in a lane that is not its own";
  if (ended && task.dueAt !== undefined && !run.closing) yield "ended, and due without being closed";
  if (task.dueLane !== (task.dueAt === undefined ? undefined : task.lane)) yield "misplaced in the claim index";
  const idle = task.owner === undefined && task.dueAt === undefined;
  if (idle && (run.status === "pending" || run.status === "running")) yield `${run.status}, yet neither owned nor due`;
}

/** Figures of one page of runs, to be added up. */
export async function stats(
  db: Reader,
  cursor: string | null | undefined,
): Promise<{ stats: [string, number][]; cursor: string | null }> {
  const { runs, cursor: next } = await page(db, cursor);
  const figures = new Map<string, number>([
    ["entries", 0],
    ["messages", 0],
    ["bytes", 0],
  ]);
  const add = (name: string, count: number): void => {
    figures.set(name, (figures.get(name) ?? 0) + count);
  };
  const tasks = await Promise.all(runs.map((run) => readTask(db, run.id)));
  runs.forEach((run, n) => {
    const task = tasks[n];
    add(`runs.${run.status}`, 1);
    if (task == null) return;
    add("entries", task.older + task.position);
    add("messages", task.letters);
    add("bytes", task.bytes);
  });
  return { stats: [...figures], cursor: next };
}

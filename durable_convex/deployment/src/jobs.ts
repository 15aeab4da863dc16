/** Scheduled functions as documents: scheduled, cancelled and settled inside transactions. */
import type { Address, Target } from "./components.ts";
import { FunctionError } from "./errors.ts";
import { newId } from "./ids.ts";
import { checkSize, LIMITS } from "./limits.ts";
import { ABOVE, keyOf } from "./sortkey.ts";
import { JOBS, SCHEDULED, type Table, type Tables } from "./tables.ts";
import type { Transaction } from "./transaction.ts";
import type { Json, JsonObject } from "./values.ts";

/** What the `1.0/schedule` syscall is given; `ts` is in seconds since the epoch. */
export interface ScheduleArgs extends Address {
  ts: number;
  args: Json;
}

export interface Job {
  /** The id of the document of `_scheduled_functions`. */
  readonly id: string;
  /** The component that scheduled it, and whose document it is. */
  readonly owner: string;
  readonly component: string;
  readonly fn: string;
  /** Due time, in milliseconds since the epoch. */
  readonly time: number;
  /** Whether an action has been started for it. */
  readonly started: boolean;
}

/** How a job ended, as its document tells it. */
export type JobState = { kind: "pending" | "inProgress" | "success" | "canceled" } | { kind: "failed"; error: string };

const YEARS_MS = 5 * 365 * 86_400_000;

/** Schedules a function as part of a transaction; returns the job's id. */
export function schedule(transaction: Transaction, owner: string, target: Target, time: number, args: Json): string {
  if (target.fn.type === "query") throw new FunctionError("Scheduled functions must be mutations or actions.");
  if (Math.abs(time - transaction.beganAt) > YEARS_MS)
    throw new FunctionError("A function may be scheduled at most five years away.");
  transaction.meter.add("functionsScheduled", 1);
  transaction.meter.add(
    "scheduledFunctionArgsBytes",
    checkSize(args, LIMITS.argumentBytes, "Arguments of a scheduled function"),
  );
  const scheduled = scheduledTable(transaction.tables, owner);
  const id = newId(scheduled.number);
  const { fn, component } = target;
  transaction.putSystem(scheduled, id, {
    name: fn.name.replace(":", ".js:"),
    args: [args],
    scheduledTime: time,
    state: { kind: "pending" },
  });
  const jobs = jobTable(transaction.tables);
  const job = { job: id, owner, component: component.path, function: fn.name, time, started: false };
  transaction.putSystem(jobs, newId(jobs.number), job);
  return id;
}

/** Cancels a job that has not ended; a job that has is left as it is. */
export function cancel(transaction: Transaction, owner: string, id: string): void {
  const scheduled = scheduledTable(transaction.tables, owner);
  const document = transaction.get(scheduled, id);
  if (document === null) throw new FunctionError(`There is no scheduled function "${id}".`);
  if (isOpen(document.value)) settle(transaction, owner, id, { kind: "canceled" });
}

function isOpen(value: JsonObject): boolean {
  return ["pending", "inProgress"].includes((value["state"] as { kind: string }).kind);
}

/** Whether the job still waits, as this transaction sees it. */
export function isPending(transaction: Transaction, job: Job): boolean {
  const document = transaction.get(scheduledTable(transaction.tables, job.owner), job.id);
  return document !== null && (document.value["state"] as { kind: string }).kind === "pending";
}

/** Sets a job's state; a final one takes it off the list of jobs. */
export function settle(transaction: Transaction, owner: string, id: string, state: JobState): void {
  const scheduled = scheduledTable(transaction.tables, owner);
  const document = transaction.observe(scheduled, id);
  if (document === null) return;
  // What has ended stays as it ended: a function may have cancelled the job that runs it.
  if (!isOpen(document.value)) return;
  const final = state.kind !== "pending" && state.kind !== "inProgress";
  const fields: JsonObject = { ...document.value, state: { ...state } };
  if (final) fields["completedTime"] = transaction.beganAt;
  transaction.putSystem(scheduled, id, fields);
  const jobs = jobTable(transaction.tables);
  const entry = jobEntry(transaction, jobs, id);
  if (entry === null) return;
  transaction.putSystem(jobs, entry.id, final ? null : { ...entry.value, started: state.kind === "inProgress" });
}

function jobEntry(transaction: Transaction, jobs: Table, id: string): { id: string; value: JsonObject } | null {
  const index = jobs.index("by_job");
  const found = index === null ? undefined : transaction.overlay.next(index, keyOf(id), true);
  return found !== undefined && found[1].value["job"] === id ? found[1] : null;
}

export function argumentsOf(tables: Tables, job: Job): Json {
  const document = scheduledTable(tables, job.owner).get(job.id);
  return (document?.value["args"] as Json[] | undefined)?.[0] ?? {};
}

/** Jobs in the order of their due times: those due by `until`, and when the next one after it is. */
export function* jobsByTime(tables: Tables): Generator<Job> {
  const index = jobTable(tables).index("by_time");
  if (index === null) throw new Error("the table of jobs has no index by time");
  let key = "";
  for (;;) {
    const found = index.documents.next(key, false);
    if (found === undefined || found[0] >= ABOVE) return;
    key = found[0];
    yield jobOf(found[1].value);
  }
}

function jobOf(value: JsonObject): Job {
  return {
    id: value["job"] as string,
    owner: value["owner"] as string,
    component: value["component"] as string,
    fn: value["function"] as string,
    time: value["time"] as number,
    started: value["started"] as boolean,
  };
}

export function scheduledTable(tables: Tables, owner: string): Table {
  return tables.namespace(owner).table(SCHEDULED);
}

export function jobTable(tables: Tables): Table {
  return tables.namespace("").table(JOBS);
}

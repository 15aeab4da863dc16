/** Runs from TypeScript: started inside your own mutations, watched from your own queries. */
import type { FunctionReference, FunctionReturnType, GenericMutationCtx, GenericQueryCtx } from "convex/server";
import { entryOf, outcomeOf, valueOf, type StepEntry } from "./decoding";
import { asciiText, checkName, digestOf, dump, trouble, type Json } from "./json";
import { randomToken } from "./platform";

/* eslint-disable @typescript-eslint/no-explicit-any */

/** What `components.durable` is, as far as it matters here. */
export interface DurableComponent {
  store: {
    sync: FunctionReference<"mutation", "internal", any, any>;
    read: FunctionReference<"query", "internal", any, any>;
    watch: FunctionReference<"query", "internal", any, any>;
    info: FunctionReference<"query", "internal", any, any>;
  };
}

export type RunsMutations = Pick<GenericMutationCtx<any>, "runMutation">;
export type RunsQueries = Pick<GenericQueryCtx<any>, "runQuery">;

export type Status = "pending" | "running" | "waiting" | "paused" | "blocked" | "completed" | "failed" | "cancelled";

export interface StartOptions {
  /** Of the run; starting it again with the same id, workflow and input is the same start. Default: random. */
  id?: string;
  /** Which workers may take it. Default `"default"`; the queue that the workflow declares is known to Python alone. */
  queue?: string;
  /** Texts to list by. */
  labels?: Record<string, string>;
  /** Not before this much time has passed. */
  delaySeconds?: number;
  /** Higher is taken up first. */
  priority?: number;
}

export interface RunInfo {
  id: string;
  workflow: string;
  version?: string;
  queue: string;
  status: Status;
  generation: number;
  labels: Record<string, string>;
  /** Seconds since the epoch, as all times here. */
  createdAt: number;
  startedAt?: number;
  endedAt?: number;
  /** How it failed, was cancelled or is blocked; one line. */
  error?: string;
}

export interface RunDetails extends RunInfo {
  /** What it waits for, as of its last commit. */
  waits: { kind: string; name: string; since: number; until?: number; attempt?: number; error?: string }[];
  /** What it has published with `ctx.set`; a name that cannot be one of a Convex object's comes as its JSON text. */
  values: Record<string, Json>;
  /** Of a completed run; absent where it is not JSON that can be read here. */
  result?: Json;
}

export interface ListOptions {
  workflow?: string;
  status?: Status | Status[];
  labels?: Record<string, string>;
  queue?: string;
  /** 1 to 1,000; default 100. */
  limit?: number;
  /** Of the previous page. */
  cursor?: string;
}

/** Runs of one installed component. Every method takes your function's own `ctx`, and is part of its transaction. */
export class Orchestrator {
  constructor(private readonly component: DurableComponent) {}

  /**
   * Start a run; it exists if and only if your mutation commits.
   *
   * `input` is the workflow's one argument as JSON; leave it out for a workflow that takes none. Throws a ConvexError
   * with code `RUN_CONFLICT` if the id belongs to a run with another workflow or input.
   */
  async start(ctx: RunsMutations, workflow: string, input?: unknown, options: StartOptions = {}): Promise<string> {
    const args = input === undefined ? [] : [input];
    const raw = dump(args, `input of workflow ${JSON.stringify(workflow)}`);
    const run = {
      id: checkName("run id", options.id ?? randomToken()),
      workflow: checkName("workflow name", workflow),
      queue: checkName("queue name", options.queue ?? "default"),
      input: raw,
      digest: await digestOf(workflow, args, raw),
      seed: randomToken(),
      priority: priorityOf(options.priority ?? 0),
      delay_seconds: secondsOf(options.delaySeconds ?? 0),
      labels: labelsOf(options.labels),
    };
    const created = await this.sync(ctx, { op: "create", runs: [run] });
    if (created.outcome === "existed" && created.digest !== run.digest) {
      const other = created.workflow === workflow ? "with another input" : `and runs workflow ${created.workflow}`;
      throw trouble("RUN_CONFLICT", `Run ${run.id} exists already, ${other}.`);
    }
    return run.id;
  }

  /** Send a signal; it is kept until the run asks for it. The same `id` again is the same signal. */
  async signal(ctx: RunsMutations, run: string, name: string, payload?: unknown, id?: string): Promise<void> {
    const message = {
      run: checkName("run id", run),
      id: checkName("signal id", id ?? randomToken()),
      kind: "signal",
      name: checkName("signal name", name),
      payload: dump(payload ?? null, `signal ${JSON.stringify(name)}`),
      generation: 0,
    };
    const sent = await this.sync(ctx, { op: "send", messages: [message] });
    if (sent === "not_found") throw notFound(run);
    if (sent === "ended") throw trouble("RUN_ENDED", `Run ${run} has ended; it takes no more signals.`);
    if (sent === "inbox_full") throw trouble("STORE_FULL", `Run ${run} has 10,000 unread signals.`);
  }

  /** Ask the run to end; its clean-up steps run first. A run that was never started ends at once. */
  async cancel(ctx: RunsMutations, run: string, reason = ""): Promise<void> {
    const verb = { is: "Cancel", reason, payload: dump(reason, "reason"), outcome: `cancelled\n${asciiText(reason)}` };
    const control = { run: checkName("run id", run), request_id: randomToken(), verb };
    const answer = await this.sync(ctx, { op: "control", controls: [control] });
    if (answer.outcome === "not_found") throw notFound(run);
    if (answer.outcome === "not_allowed") throw trouble("RUN_ENDED", `Run ${run} is ${answer.status} already.`);
  }

  /** How a run stands, with its result once it has one; null if there is none of this id. */
  async get(ctx: RunsQueries, run: string): Promise<RunDetails | null> {
    const asks = [
      { ask: "get", runs: [run] },
      { ask: "outcome", run },
      { ask: "values", run },
    ];
    const [[row], outcome, { values }] = await this.read(ctx, asks);
    if (row === null) return null;
    const end = outcome === null ? null : outcomeOf(outcome);
    const details: RunDetails = { ...infoOf(row), waits: row.waits.map(waitOf), values: {} };
    details.values = mapping(
      values.map(([name, data]: [string, string | ArrayBuffer]) => [name, valueOf(data) ?? null]),
    );
    if (end?.kind === "completed" && end.result !== undefined) details.result = end.result;
    return details;
  }

  /**
   * Runs that fit every condition, newest first. A page looks at 2,000 runs at most, so one that has a cursor may be
   * short; the last page has none.
   */
  async list(ctx: RunsQueries, options: ListOptions = {}): Promise<{ runs: RunInfo[]; cursor: string | null }> {
    const { workflow, queue, status, labels, limit = 100, cursor } = options;
    const statuses = status === undefined ? [] : [status].flat();
    const query = { workflow, queue, statuses, labels: labelsOf(labels) };
    const [page] = await this.read(ctx, [{ ask: "summaries", query, limit, cursor }]);
    if (page.invalid !== undefined) throw trouble("INVALID_INPUT", page.invalid);
    return { runs: page.runs.map(infoOf), cursor: page.cursor };
  }

  /** The journal of a run's present generation, for people: what each step gave, and when. */
  async steps(
    ctx: RunsQueries,
    run: string,
    page: { start?: number; limit?: number } = {},
  ): Promise<{ steps: StepEntry[]; next: number | null }> {
    const [[row]] = await this.read(ctx, [{ ask: "get", runs: [run] }]);
    if (row === null) return { steps: [], next: null };
    const { start = 0, limit = 1_000 } = page;
    const { generation } = row;
    const [journal] = await this.read(ctx, [{ ask: "journal", run, generation, start, limit }]);
    return { steps: journal.rows.map(entryOf), next: journal.next };
  }

  private async sync(ctx: RunsMutations, op: object): Promise<any> {
    const answer: FunctionReturnType<DurableComponent["store"]["sync"]> = await ctx.runMutation(
      this.component.store.sync,
      { ops: [op] },
    );
    const [result] = answer.results;
    return Array.isArray(result) ? result[0] : result;
  }

  private async read(ctx: RunsQueries, asks: object[]): Promise<any> {
    return (await ctx.runQuery(this.component.store.read, { asks })).results;
  }
}

function notFound(run: string): Error {
  return trouble("RUN_NOT_FOUND", `There is no run ${JSON.stringify(run)}.`);
}

function priorityOf(priority: number): number {
  if (Number.isInteger(priority) && Math.abs(priority) <= 1_000_000) return priority;
  throw trouble("INVALID_INPUT", `priority is a whole number up to a million either way, not ${priority}.`);
}

function secondsOf(seconds: number): number {
  if (Number.isFinite(seconds) && seconds >= 0 && seconds <= SECONDS_MAX) return seconds;
  throw trouble("INVALID_INPUT", `delaySeconds is a time of 0 to 100 years, not ${seconds}.`);
}

const SECONDS_MAX = 100 * 366 * 86_400;

function labelsOf(labels: Record<string, string> | undefined): string[][] {
  return Object.entries(labels ?? {}).map(([name, value]) => {
    if (value !== "") checkName("label value", value);
    return [checkName("label name", name), value];
  });
}

function infoOf(row: any): RunInfo {
  const info: RunInfo = {
    id: row.id,
    workflow: row.workflow,
    queue: row.queue,
    status: row.status,
    generation: row.generation,
    labels: mapping(row.labels),
    createdAt: row.created_at,
  };
  if (row.version !== undefined) info.version = row.version;
  if (row.started_at !== undefined) info.startedAt = row.started_at;
  if (row.ended_at !== undefined) info.endedAt = row.ended_at;
  const error = row.blocked ?? row.error;
  if (error !== undefined) info.error = error;
  return info;
}

/** Pairs as an object; names that a Convex object cannot have are written in ASCII, as JSON does it. */
function mapping<T>(pairs: readonly (readonly [string, T])[]): Record<string, T> {
  return Object.fromEntries(
    pairs.map(([name, value]) => [/^[\x20-\x23\x25-\x7e][\x20-\x7e]*$/.test(name) ? name : asciiText(name), value]),
  );
}

function waitOf(wait: any): RunDetails["waits"][number] {
  const { kind, name, since } = wait;
  const found: RunDetails["waits"][number] = { kind, name, since };
  if (wait.until != null) found.until = wait.until;
  if (wait.attempt) found.attempt = wait.attempt;
  if (wait.error != null) found.error = wait.error;
  return found;
}

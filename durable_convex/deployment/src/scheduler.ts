/** The scheduler: runs scheduled functions when they are due, mutations exactly once and actions at most once. */
import { ANONYMOUS, type Call, type Outcome } from "./call.ts";
import type { Target } from "./components.ts";
import type { Deployment } from "./deployment.ts";
import { FunctionError, messageOf } from "./errors.ts";
import { argumentsOf, isPending, jobsByTime, jobTable, settle, type Job, type JobState } from "./jobs.ts";
import { requestId } from "./random.ts";
import type { WrittenKeys } from "./reads.ts";
import type { Transaction } from "./transaction.ts";
import type { Json } from "./values.ts";

const RUNNING_MAX = 8;
const ACTIONS_MAX = 64;
const TIMER_MS_MAX = 2 ** 31 - 1;
const RETRY_MS = 200;

export class Scheduler {
  private readonly deployment: Deployment;
  private readonly running = new Map<string, "mutation" | "action">();
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(deployment: Deployment) {
    this.deployment = deployment;
    deployment.executor.onCommit((written) => this.onCommit(written));
  }

  /** Fails the actions that an earlier process left running, then begins to work. */
  async start(): Promise<void> {
    const left = [...jobsByTime(this.deployment.database.tables)].filter(({ started }) => started);
    if (left.length > 0) {
      await this.deployment.transact((transaction) => {
        for (const job of left)
          settle(transaction, job.owner, job.id, { kind: "failed", error: "The server stopped while the action ran." });
      });
    }
    this.look();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private onCommit(written: WrittenKeys): void {
    const index = jobTable(this.deployment.database.tables).byId;
    for (const changed of written.indexes()) {
      if (changed !== index) continue;
      this.look();
      return;
    }
  }

  /** Starts what is due, and sets the timer for what is not. */
  private look(): void {
    if (this.stopped) return;
    clearTimeout(this.timer);
    const now = Date.now();
    for (const job of jobsByTime(this.deployment.database.tables)) {
      if (job.time > now) {
        this.timer = setTimeout(() => this.look(), Math.min(Math.ceil(job.time - now), TIMER_MS_MAX));
        return;
      }
      if (job.started || this.running.has(job.id)) continue;
      if (!this.begin(job)) return;
    }
  }

  /** Starts a job; false if as many are running as may. */
  private begin(job: Job): boolean {
    const target = this.find(job);
    const kind = target?.fn.type === "action" ? "action" : "mutation";
    const busy = [...this.running.values()].filter((other) => other === kind).length;
    if (busy >= (kind === "action" ? ACTIONS_MAX : RUNNING_MAX)) return false;
    this.running.set(job.id, kind);
    const work = target === null ? this.fail(job, `Could not find function ${job.fn}.`) : this.run(job, target);
    void work
      .catch((error: unknown) => this.onTrouble(job, error))
      .finally(() => {
        this.running.delete(job.id);
        this.look();
      });
    return true;
  }

  /** A mutation that conflicted too often is tried again until it commits; anything else is a fault of this server. */
  private async onTrouble(job: Job, error: unknown): Promise<void> {
    if (this.stopped) return;
    console.error(`The scheduled function ${job.fn} is tried again: ${messageOf(error)}`);
    await new Promise((resume) => setTimeout(resume, RETRY_MS));
  }

  private find(job: Job): Target | null {
    const component = this.deployment.surroundings.app.at(job.component);
    const fn = component?.function(job.fn) ?? null;
    return component === null || fn === null ? null : { component, fn };
  }

  private async run(job: Job, target: Target): Promise<void> {
    const args = argumentsOf(this.deployment.database.tables, job);
    if (target.fn.type === "action") await this.runAction(job, target, args);
    else await this.runMutation(job, target, args);
  }

  /** The job's end and the function's writes are one transaction. */
  private async runMutation(job: Job, target: Target, args: Json): Promise<void> {
    this.deployment.calls.mutations += 1;
    await this.deployment.executor.mutate(async (transaction) => {
      if (!isPending(transaction, job)) return { commit: false, result: null };
      const outcome = await this.deployment.mutateIn(transaction, target, args, callOf(job));
      this.settleAs(transaction, job, outcome);
      return { commit: true, result: null };
    });
  }

  private async runAction(job: Job, target: Target, args: Json): Promise<void> {
    const mine = await this.deployment.transact((transaction) => {
      if (!isPending(transaction, job)) return false;
      settle(transaction, job.owner, job.id, { kind: "inProgress" });
      return true;
    });
    if (!mine) return;
    const outcome = await this.deployment.runAction(target, args, callOf(job));
    await this.deployment.transact((transaction) => this.settleAs(transaction, job, outcome));
  }

  private async fail(job: Job, error: string): Promise<void> {
    await this.deployment.transact((transaction) => settle(transaction, job.owner, job.id, { kind: "failed", error }));
  }

  private settleAs(transaction: Transaction, job: Job, outcome: Outcome): void {
    if (!outcome.ok) console.error(`The scheduled function ${job.fn} failed: ${outcome.error.message}`);
    const state: JobState = outcome.ok ? { kind: "success" } : { kind: "failed", error: failureText(outcome.error) };
    settle(transaction, job.owner, job.id, state);
  }
}

function failureText(error: FunctionError): string {
  return error.message.slice(0, 10_000);
}

function callOf(job: Job): Call {
  const request = { id: requestId(), ip: null, userAgent: null };
  return { identity: ANONYMOUS, request, scheduledId: job.id, logLines: [] };
}

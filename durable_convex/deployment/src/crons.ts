/** Cron jobs: each time one is due, its function is scheduled like any other. */
import { resolve, type Component, type Target } from "./components.ts";
import { nextTime, type CronSchedule } from "./cron_times.ts";
import type { Deployment } from "./deployment.ts";
import { messageOf } from "./errors.ts";
import { schedule } from "./jobs.ts";
import type { Json } from "./values.ts";

const MODULE = "crons";
const TIMER_MS_MAX = 2 ** 31 - 1;

interface CronJob {
  readonly target: Target;
  readonly args: Json;
  readonly schedule: CronSchedule;
}

interface Exported {
  crons: Record<string, { name: string; args: Json[]; schedule: CronSchedule }>;
}

export class Crons {
  private readonly deployment: Deployment;
  private readonly timers = new Set<NodeJS.Timeout>();

  constructor(deployment: Deployment) {
    this.deployment = deployment;
  }

  /** Reads the cron jobs of all components. An interval begins with a run now, the others with their next time. */
  async start(): Promise<void> {
    const { app } = this.deployment.surroundings;
    for (const component of app.all()) {
      for (const job of jobsOf(app, component))
        this.wait(job, job.schedule.type === "interval" ? Date.now() : nextTime(job.schedule, Date.now()));
    }
  }

  stop(): void {
    for (const timer of this.timers) clearTimeout(timer);
  }

  private wait(job: CronJob, time: number): void {
    const timer = setTimeout(
      () => {
        this.timers.delete(timer);
        if (Date.now() < time) this.wait(job, time);
        else void this.fire(job, time);
      },
      Math.max(0, Math.min(time - Date.now(), TIMER_MS_MAX)),
    );
    this.timers.add(timer);
  }

  private async fire(job: CronJob, time: number): Promise<void> {
    // The next time is reckoned from this one, so that intervals do not drift; times that were slept through are skipped.
    const next = nextTime(job.schedule, time);
    this.wait(job, next > Date.now() ? next : nextTime(job.schedule, Date.now()));
    try {
      await this.deployment.transact((transaction) =>
        schedule(transaction, job.target.component.path, job.target, transaction.beganAt, job.args),
      );
    } catch (error) {
      console.error(`The cron job for ${job.target.fn.name} could not be scheduled: ${messageOf(error)}`);
    }
  }
}

function jobsOf(app: Component, component: Component): CronJob[] {
  if (!component.code.has(MODULE)) return [];
  return component.code.inspect(MODULE, ({ default: exported }) =>
    Object.values((exported as Exported).crons).map(({ name, args, schedule: when }): CronJob => {
      nextTime(when, Date.now());
      return { target: resolve(app, component, { name }), args: args[0] ?? {}, schedule: when };
    }),
  );
}

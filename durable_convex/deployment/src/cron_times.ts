/** When cron jobs are due: the schedules of `cronJobs()`, in UTC. */
import { SetupError } from "./errors.ts";

export type CronSchedule =
  | { type: "interval"; seconds?: number; minutes?: number; hours?: number }
  | { type: "hourly"; minuteUTC?: number }
  | { type: "daily"; hourUTC: number; minuteUTC?: number }
  | { type: "weekly"; dayOfWeek: string; hourUTC: number; minuteUTC?: number }
  | { type: "monthly"; day: number; hourUTC: number; minuteUTC?: number }
  | { type: "cron"; cron: string };

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const YEARS_SEARCHED = 5;
const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/** The first time after `after` at which a job is due; both in milliseconds since the epoch. */
export function nextTime(schedule: CronSchedule, after: number): number {
  if (schedule.type === "interval") return after + intervalMs(schedule);
  return nextMatch(parseExpression(expressionOf(schedule)), after);
}

function intervalMs({ seconds = 0, minutes = 0, hours = 0 }: Extract<CronSchedule, { type: "interval" }>): number {
  return ((hours * 60 + minutes) * 60 + seconds) * 1000;
}

function expressionOf(schedule: Exclude<CronSchedule, { type: "interval" }>): string {
  switch (schedule.type) {
    case "cron":
      return schedule.cron;
    case "hourly":
      return `${schedule.minuteUTC ?? 0} * * * *`;
    case "daily":
      return `${schedule.minuteUTC ?? 0} ${schedule.hourUTC} * * *`;
    case "weekly":
      return `${schedule.minuteUTC ?? 0} ${schedule.hourUTC} * * ${schedule.dayOfWeek.slice(0, 3)}`;
    case "monthly":
      return `${schedule.minuteUTC ?? 0} ${schedule.hourUTC} ${schedule.day} * *`;
  }
}

interface Expression {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Days of the month and of the week are both restricted: either will do. */
  readonly eitherDay: boolean;
}

function parseExpression(text: string): Expression {
  const [minute, hour, day, month, weekday, more] = text.trim().toLowerCase().split(/\s+/);
  if (
    minute === undefined ||
    hour === undefined ||
    day === undefined ||
    month === undefined ||
    weekday === undefined ||
    more !== undefined
  ) {
    throw new SetupError(`The cron expression "${text}" must have five fields.`);
  }
  const weekdays = new Set([...parseField(weekday, 0, 7, WEEKDAYS)].map((value) => value % 7));
  return {
    minutes: parseField(minute, 0, 59, []),
    hours: parseField(hour, 0, 23, []),
    days: parseField(day, 1, 31, []),
    months: new Set([...parseField(month, 1, 12, MONTHS)]),
    weekdays,
    eitherDay: !day.startsWith("*") && !weekday.startsWith("*"),
  };
}

function parseField(text: string, low: number, high: number, names: readonly string[]): Set<number> {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const [range = "", step = "1"] = part.split("/");
    const [from, to = part.includes("/") ? String(high) : from] =
      range === "*" ? [String(low), String(high)] : range.split("-");
    for (
      let value = numberOf(from ?? "", low, names);
      value <= numberOf(to ?? "", low, names);
      value += Math.max(1, Number(step))
    ) {
      if (!Number.isInteger(value) || value < low || value > high)
        throw new SetupError(`"${text}" is not within ${low} to ${high} in a cron expression.`);
      values.add(value);
    }
  }
  return values;
}

function numberOf(text: string, low: number, names: readonly string[]): number {
  const named = names.indexOf(text);
  const value = named >= 0 ? named + low : Number(text);
  if (text === "" || Number.isNaN(value)) throw new SetupError(`"${text}" is no number in a cron expression.`);
  return value;
}

function nextMatch(expression: Expression, after: number): number {
  const end = after + YEARS_SEARCHED * 366 * DAY_MS;
  let time = (Math.floor(after / MINUTE_MS) + 1) * MINUTE_MS;
  while (time < end) {
    const date = new Date(time);
    if (!matchesDay(expression, date)) time = (Math.floor(time / DAY_MS) + 1) * DAY_MS;
    else if (expression.hours.has(date.getUTCHours()) && expression.minutes.has(date.getUTCMinutes())) return time;
    else time += MINUTE_MS;
  }
  throw new SetupError("A cron expression never comes due.");
}

function matchesDay({ days, months, weekdays, eitherDay }: Expression, date: Date): boolean {
  if (!months.has(date.getUTCMonth() + 1)) return false;
  const day = days.has(date.getUTCDate());
  const weekday = weekdays.has(date.getUTCDay());
  return eitherDay ? day || weekday : day && weekday;
}

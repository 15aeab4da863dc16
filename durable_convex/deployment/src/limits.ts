/** The limits of the platform, and the meter that holds a transaction to them. */
import { FunctionError } from "./errors.ts";
import { kindOf, sizeOf, type Json, type JsonObject } from "./values.ts";

const MIB = 1 << 20;

export const LIMITS = {
  documentBytes: MIB,
  arrayItems: 8192,
  objectFields: 1024,
  documentNesting: 16,
  valueNesting: 64,
  argumentBytes: 16 * MIB,
  resultBytes: 16 * MIB,
  bytesRead: 16 * MIB,
  bytesWritten: 16 * MIB,
  documentsRead: 32_000,
  documentsWritten: 16_000,
  databaseQueries: 4_096,
  functionsScheduled: 1_000,
  scheduledFunctionArgsBytes: 16 * MIB,
} as const;

export type Measure =
  | "bytesRead"
  | "bytesWritten"
  | "documentsRead"
  | "documentsWritten"
  | "databaseQueries"
  | "functionsScheduled"
  | "scheduledFunctionArgsBytes";

const COMPLAINTS: Readonly<Record<Measure, string>> = {
  bytesRead: "Too many bytes read in a single function execution",
  bytesWritten: "Too many bytes written in a single function execution",
  documentsRead: "Too many documents read in a single function execution",
  documentsWritten: "Too many writes in a single function execution",
  databaseQueries: "Too many reads in a single function execution",
  functionsScheduled: "Too many functions scheduled by this mutation",
  scheduledFunctionArgsBytes: "Too large total size of the arguments of scheduled functions from this mutation",
};

/** Limits that a caller sets for a function it calls. */
export type OwnLimits = Partial<Record<Measure, number>>;

/** Counts what one transaction, with all functions it calls, has used. */
export class Meter {
  /** The limits of the functions that run now, outermost first, each with what had been used when it began. */
  private readonly inner: { limits: OwnLimits; before: Readonly<Record<Measure, number>> }[] = [];
  private readonly used: Record<Measure, number> = {
    bytesRead: 0,
    bytesWritten: 0,
    documentsRead: 0,
    documentsWritten: 0,
    databaseQueries: 0,
    functionsScheduled: 0,
    scheduledFunctionArgsBytes: 0,
  };

  /** Adds to a measure; throws when the limit is passed. */
  add(measure: Measure, amount: number): void {
    this.used[measure] += amount;
    if (this.used[measure] > LIMITS[measure]) {
      throw new FunctionError(`${COMPLAINTS[measure]} (limit: ${LIMITS[measure]}).`);
    }
    for (const { limits, before } of this.inner) {
      const limit = limits[measure];
      if (limit !== undefined && this.used[measure] - before[measure] > limit) {
        throw new FunctionError(`${COMPLAINTS[measure]} (limit set by the caller: ${limit}).`);
      }
    }
  }

  /** Runs `body`, which may use no more than `limits`. */
  async within<T>(limits: OwnLimits, body: () => Promise<T>): Promise<T> {
    this.inner.push({ limits, before: { ...this.used } });
    try {
      return await body();
    } finally {
      this.inner.pop();
    }
  }

  /** What `ctx.meta.getTransactionMetrics()` answers. */
  report(): JsonObject {
    const report: JsonObject = {};
    for (const [measure, used] of Object.entries(this.used)) {
      report[measure] = { used, remaining: LIMITS[measure as Measure] - used };
    }
    for (const measure of ["filesWritten", "fileWriteBytes", "filesRead", "fileReadBytes"]) {
      report[measure] = { used: 0, remaining: 0 };
    }
    return report;
  }
}

/** Throws unless the shape of the value is within the limits of nesting, array items and object fields. */
export function checkShape(value: Json, nesting: number, what: string, depth = 0): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > nesting) throw new FunctionError(`${what} is nested too deeply (limit: ${nesting} levels).`);
  if (Array.isArray(value)) {
    if (value.length > LIMITS.arrayItems) {
      throw new FunctionError(`${what} has an array of length ${value.length} (limit: ${LIMITS.arrayItems}).`);
    }
    for (const item of value) checkShape(item, nesting, what, depth + 1);
    return;
  }
  if (kindOf(value) !== "object") return;
  const items = Object.values(value);
  if (items.length > LIMITS.objectFields) {
    throw new FunctionError(`${what} has an object with ${items.length} fields (limit: ${LIMITS.objectFields}).`);
  }
  for (const item of items) checkShape(item, nesting, what, depth + 1);
}

/** Throws unless the value is within `bytes`; returns its size. */
export function checkSize(value: Json, bytes: number, what: string): number {
  const size = sizeOf(value);
  if (size > bytes) throw new FunctionError(`${what} is too large (${size} bytes, limit: ${bytes} bytes).`);
  return size;
}

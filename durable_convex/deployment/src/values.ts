/**
 * Convex values in the JSON encoding that the `convex/server` runtime speaks.
 *
 * Documents, arguments and results stay in this encoding from the socket to the disk: an int64 is `{"$integer": base64}`,
 * bytes are `{"$bytes": base64}`, and NaN, the infinities and -0 are `{"$float": base64}`.
 */

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

export type Kind =
  "null" | "int64" | "float64" | "boolean" | "string" | "bytes" | "array" | "object" | "commitTs" | "undefined";

export const COMMIT_TS: JsonObject = { $commitTs: null };

/** Says which kind of Convex value an encoded value is. */
export function kindOf(value: Json): Kind {
  if (value === null) return "null";
  switch (typeof value) {
    case "number":
      return "float64";
    case "string":
      return "string";
    case "boolean":
      return "boolean";
    default:
      return Array.isArray(value) ? "array" : kindOfObject(value);
  }
}

const SPECIAL_KINDS: Readonly<Record<string, Kind>> = {
  $integer: "int64",
  $float: "float64",
  $bytes: "bytes",
  $commitTs: "commitTs",
  $undefined: "undefined",
};

function kindOfObject(value: JsonObject): Kind {
  for (const key in value) {
    // Field names cannot begin with "$", so the first key tells.
    return key.charCodeAt(0) === 36 ? (SPECIAL_KINDS[key] ?? "object") : "object";
  }
  return "object";
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The number that an encoded float64 stands for. */
export function floatOf(value: Json): number {
  if (typeof value === "number") return value;
  return Buffer.from((value as { $float: string }).$float, "base64").readDoubleLE(0);
}

export function integerOf(value: Json): bigint {
  return Buffer.from((value as { $integer: string }).$integer, "base64").readBigInt64LE(0);
}

export function encodeInteger(value: bigint): JsonObject {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return { $integer: bytes.toString("base64") };
}

export function bytesOf(value: Json): Buffer {
  return Buffer.from((value as { $bytes: string }).$bytes, "base64");
}

/** The size of a value in bytes, by the rules by which Convex counts. */
export function sizeOf(value: Json): number {
  switch (kindOf(value)) {
    case "null":
    case "boolean":
    case "undefined":
      return 1;
    case "float64":
    case "int64":
    case "commitTs":
      return 9;
    case "string":
      return Buffer.byteLength(value as string) + 2;
    case "bytes":
      return bytesOf(value).length + 2;
    case "array":
      return (value as Json[]).reduce<number>((total, item) => total + sizeOf(item), 2);
    case "object": {
      let total = 2;
      for (const [key, item] of Object.entries(value as JsonObject)) total += key.length + 1 + sizeOf(item);
      return total;
    }
  }
}

/**
 * Writes a value as the backend does: a float64 always has a fraction or an exponent.
 *
 * The official Python client refuses `1` where it expects `1.0`.
 */
export function wireText(value: Json): string {
  if (typeof value === "number")
    return Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : String(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(wireText).join(",")}]`;
  const fields = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}:${wireText(item)}`);
  return `{${fields.join(",")}}`;
}

/** Turns the encoding into the plain JSON of the format called "json", which cannot tell all kinds apart. */
export function cleanJson(value: Json): Json {
  switch (kindOf(value)) {
    case "int64":
      return integerOf(value).toString();
    case "bytes":
      return (value as { $bytes: string }).$bytes;
    case "float64":
      return typeof value === "number" ? value : cleanSpecialFloat(floatOf(value));
    case "array":
      return (value as Json[]).map(cleanJson);
    case "object":
      return Object.fromEntries(Object.entries(value as JsonObject).map(([key, item]) => [key, cleanJson(item)]));
    default:
      return value;
  }
}

function cleanSpecialFloat(value: number): Json {
  return Number.isFinite(value) ? value : String(value);
}

/** A copy with its fields in the order of their names, as Convex hands documents out. */
export function sortedFields(value: JsonObject): JsonObject {
  const sorted: JsonObject = {};
  for (const key of Object.keys(value).sort()) sorted[key] = value[key] as Json;
  return sorted;
}

/** Follows a path of fields such as "state.kind"; undefined where a field is missing. */
export function fieldAt(value: Json, path: readonly string[]): Json | undefined {
  let current: Json | undefined = value;
  for (const field of path) {
    if (!isObject(current) || kindOf(current) !== "object") return undefined;
    current = current[field];
  }
  return current;
}

/** Replaces each unresolved commit timestamp; returns the same object if there is none. */
export function resolveCommitTs<T extends Json>(value: T, ts: bigint): T {
  if (kindOf(value) === "commitTs") return encodeInteger(ts) as T;
  if (Array.isArray(value)) return value.map((item) => resolveCommitTs(item, ts)) as T;
  if (kindOf(value) !== "object") return value;
  const entries = Object.entries(value as JsonObject).map(([key, item]) => [key, resolveCommitTs(item, ts)]);
  return Object.fromEntries(entries) as T;
}

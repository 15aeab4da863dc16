/** Validators of arguments, results and documents, in the JSON form that the `convex/values` runtime exports. */
import { kindOf, type Json, type JsonObject } from "./values.ts";

export type ValidatorJson =
  | { type: "null" | "number" | "bigint" | "boolean" | "string" | "bytes" | "any" | "commitTs" }
  | { type: "literal"; value: Json }
  | { type: "id"; tableName: string }
  | { type: "array"; value: ValidatorJson }
  | { type: "record"; keys: ValidatorJson; values: { fieldType: ValidatorJson; optional: boolean } }
  | { type: "union"; value: ValidatorJson[] }
  | { type: "object"; value: Record<string, FieldJson> };

interface FieldJson {
  fieldType: ValidatorJson;
  optional: boolean;
}

/** Says whether an id belongs to a table, in the component whose values are validated. */
export type IdCheck = (table: string, id: string) => boolean;

const PLAIN_KINDS: Readonly<Record<string, string>> = {
  null: "null",
  number: "float64",
  bigint: "int64",
  boolean: "boolean",
  string: "string",
  bytes: "bytes",
};

/**
 * Checks a value.
 *
 * Returns:
 *   null if it fits, else what does not fit and where.
 */
export function mismatch(validator: ValidatorJson, value: Json, ids: IdCheck, path = ""): string | null {
  switch (validator.type) {
    case "any":
      return null;
    case "literal":
      return JSON.stringify(validator.value) === JSON.stringify(value) ? null : complaint(validator, value, path);
    case "id":
      return typeof value === "string" && ids(validator.tableName, value)
        ? null
        : idComplaint(validator.tableName, value, path);
    case "array":
      return kindOf(value) === "array"
        ? firstMismatch(validator.value, value as Json[], ids, path)
        : complaint(validator, value, path);
    case "record":
      return recordMismatch(validator, value, ids, path);
    case "union":
      return validator.value.some((member) => mismatch(member, value, ids, path) === null)
        ? null
        : complaint(validator, value, path);
    case "object":
      return objectMismatch(validator, value, ids, path);
    case "commitTs":
      return ["int64", "commitTs"].includes(kindOf(value)) ? null : complaint(validator, value, path);
    default:
      return kindOf(value) === PLAIN_KINDS[validator.type] ? null : complaint(validator, value, path);
  }
}

function firstMismatch(element: ValidatorJson, items: readonly Json[], ids: IdCheck, path: string): string | null {
  for (const [at, item] of items.entries()) {
    const found = mismatch(element, item, ids, `${path}[${at}]`);
    if (found !== null) return found;
  }
  return null;
}

function recordMismatch(
  validator: Extract<ValidatorJson, { type: "record" }>,
  value: Json,
  ids: IdCheck,
  path: string,
): string | null {
  if (kindOf(value) !== "object") return complaint(validator, value, path);
  for (const [key, item] of Object.entries(value as JsonObject)) {
    const found =
      mismatch(validator.keys, key, ids, `${path}.${key} (the key)`) ??
      mismatch(validator.values.fieldType, item, ids, `${path}.${key}`);
    if (found !== null) return found;
  }
  return null;
}

function objectMismatch(
  validator: Extract<ValidatorJson, { type: "object" }>,
  value: Json,
  ids: IdCheck,
  path: string,
): string | null {
  if (kindOf(value) !== "object") return complaint(validator, value, path);
  const object = value as JsonObject;
  for (const [field, { fieldType, optional }] of Object.entries(validator.value)) {
    const item = object[field];
    if (item === undefined) {
      if (optional) continue;
      return `Object is missing the required field \`${field}\`.${detail(validator, value, path)}`;
    }
    const found = mismatch(fieldType, item, ids, `${path}.${field}`);
    if (found !== null) return found;
  }
  for (const field of Object.keys(object)) {
    if (!Object.hasOwn(validator.value, field)) {
      return `Object contains extra field \`${field}\` that is not in the validator.${detail(validator, value, path)}`;
    }
  }
  return null;
}

function complaint(validator: ValidatorJson, value: Json, path: string): string {
  return `Value does not match validator.${detail(validator, value, path)}`;
}

function idComplaint(table: string, value: Json, path: string): string {
  return `Found a value that is no id of table "${table}".${detail({ type: "id", tableName: table }, value, path)}`;
}

const SHOWN_MAX = 1000;

function detail(validator: ValidatorJson, value: Json, path: string): string {
  const text = JSON.stringify(value);
  const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}[...]` : text;
  return `${path === "" ? "" : `\nPath: ${path}`}\nValue: ${shown}\nValidator: ${describe(validator)}`;
}

/** A validator as one would write it, e.g. `v.object({n: v.optional(v.float64())})`. */
export function describe(validator: ValidatorJson): string {
  switch (validator.type) {
    case "number":
      return "v.float64()";
    case "bigint":
      return "v.int64()";
    case "literal":
      return `v.literal(${JSON.stringify(validator.value)})`;
    case "id":
      return `v.id("${validator.tableName}")`;
    case "array":
      return `v.array(${describe(validator.value)})`;
    case "record":
      return `v.record(${describe(validator.keys)}, ${describe(validator.values.fieldType)})`;
    case "union":
      return `v.union(${validator.value.map(describe).join(", ")})`;
    case "object":
      return `v.object({${Object.entries(validator.value)
        .map(([name, field]) => `${name}: ${describeField(field)}`)
        .join(", ")}})`;
    default:
      return `v.${validator.type}()`;
  }
}

function describeField({ fieldType, optional }: FieldJson): string {
  return optional ? `v.optional(${describe(fieldType)})` : describe(fieldType);
}

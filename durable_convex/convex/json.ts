/** JSON as the Python side writes it: exactly, or not at all. */
import { ConvexError } from "convex/values";
import { compare } from "./places";
import { hex, sha256, utf8 } from "./platform";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const PAYLOAD_BYTES_MAX = 1024 * 1024;
const NAME_BYTES_MAX = 255;
const DEPTH_MAX = 180;

export type Code =
  | "UNAUTHORIZED"
  | "INVALID_INPUT"
  | "RUN_NOT_FOUND"
  | "RUN_ENDED"
  | "RUN_CONFLICT"
  | "NOT_SERIALIZABLE"
  | "PAYLOAD_TOO_LARGE"
  | "STORE_FULL";

/** Expected trouble: its data reaches the caller in production too, unlike the text of other errors. */
export function trouble(code: Code, message: string): ConvexError<{ code: Code; message: string }> {
  return new ConvexError({ code, message });
}

function unfit(where: string, why: string): Error {
  return trouble("NOT_SERIALIZABLE", `${where}: ${why}`);
}

/** A value as one JSON text; what JSON would drop or change is refused, not altered. */
export function dump(value: unknown, what: string): string {
  const text = written(value, what, 0, (members) => members);
  if (utf8(text).length > PAYLOAD_BYTES_MAX) {
    throw trouble(
      "PAYLOAD_TOO_LARGE",
      `${what}: more than ${PAYLOAD_BYTES_MAX} bytes encoded. Pass a reference to it.`,
    );
  }
  return text;
}

type Ordered = (members: [string, unknown][]) => [string, unknown][];

function written(value: unknown, where: string, depth: number, order: Ordered, number = numberText): string {
  if (depth > DEPTH_MAX) throw unfit(where, "it is nested too deeply");
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return quoted(value, where);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw unfit(where, `${value} is not JSON`);
    return number(value);
  }
  if (Array.isArray(value)) {
    const items = Array.from(value, (item, n) => written(item, `${where}[${n}]`, depth + 1, order, number));
    return `[${items.join(",")}]`;
  }
  if (typeof value !== "object") throw unfit(where, `a value of type ${typeof value} is not JSON`);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    throw unfit(where, "only plain objects are JSON");
  const members = order(Object.entries(value)).map(
    ([name, member]) => `${quoted(name, where)}:${written(member, `${where}.${name}`, depth + 1, order, number)}`,
  );
  return `{${members.join(",")}}`;
}

function quoted(text: string, where: string): string {
  for (let n = 0; n < text.length; n += 1) {
    const unit = text.charCodeAt(n);
    if (unit < 0xd800 || unit > 0xdfff) continue;
    const next = text.charCodeAt(n + 1);
    if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) throw unfit(where, "it holds a lone surrogate");
    n += 1;
  }
  return JSON.stringify(text);
}

/** Whole numbers as such, which a workflow may read as int or as float. */
function numberText(value: number): string {
  return Object.is(value, -0) ? "-0.0" : String(value);
}

/** A number as Python writes it again that has read `numberText`: a float where that has a dot or an exponent. */
function pythonNumber(value: number): string {
  const text = numberText(value);
  if (!/[.e]/.test(text) || text === "-0.0") return text;
  const [digits = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 16) return text;
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** What a start is compared by when its id exists already: see `digest` in `durable.codec`. */
export async function digestOf(workflow: string, input: unknown[], raw: string): Promise<string> {
  const several = raw.split('":').length > 2; // what has at most one member is in order
  const sorted: Ordered = (members) => members.sort(([one], [other]) => compare(one, other));
  const canonical = several ? written(input, "input", 0, sorted, pythonNumber) : raw;
  return hex(await sha256(`${workflow}\0${canonical}`));
}

/** Text in JSON with ASCII alone. */
export function asciiText(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The text, if it can be an id or a name. */
export function checkName(what: string, text: string): string {
  const wrong = (why: string) => trouble("INVALID_INPUT", `The ${what} ${JSON.stringify(text.slice(0, 60))} ${why}.`);
  if (text === "") throw wrong("may not be empty");
  try {
    quoted(text, what);
  } catch {
    throw wrong("holds a lone surrogate, which is not valid text");
  }
  const size = utf8(text).length;
  if (size > NAME_BYTES_MAX) throw wrong(`has ${size} bytes of UTF-8; the limit is ${NAME_BYTES_MAX}`);
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text)) throw wrong("holds a control character");
  return text;
}

const FIELD_NAME = /^[\x20-\x23\x25-\x7e][\x20-\x7e]{0,1023}$/; // printable ASCII, not beginning with "$"
const ITEMS_MAX = 8_192;
const FIELDS_MAX = 1_024;
const LEVELS_MAX = 12;

/**
 * JSON as a Convex value: an object or an array that Convex cannot hold (a member name that is not ASCII or begins
 * with `$`, too many items, too deep) comes as its JSON text.
 */
export function sendable(value: Json, level = 0): Json {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) {
    if (value.length > ITEMS_MAX || level > LEVELS_MAX) return JSON.stringify(value);
    return value.map((item) => sendable(item, level + 1));
  }
  const members = Object.entries(value);
  const fits = members.length <= FIELDS_MAX && members.every(([name]) => FIELD_NAME.test(name));
  if (!fits || level > LEVELS_MAX) return JSON.stringify(value);
  return Object.fromEntries(members.map(([name, member]) => [name, sendable(member, level + 1)]));
}

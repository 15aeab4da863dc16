/** What payloads, outcomes and journal entries say, for people and for apps; unreadable ones say nothing. */
import { sendable, type Json } from "./json";
import { bytesOf, textOf } from "./platform";

type Bytes = string | ArrayBuffer;

const LINE_CHARS_MAX = 300;

/** A JSON payload as a Convex value; undefined where it cannot be read (a codec hook has wrapped it, say). */
export function valueOf(data: Bytes | Uint8Array): Json | undefined {
  const value = parsed(data);
  return value === undefined ? undefined : sendable(value);
}

function parsed(data: Bytes | Uint8Array): Json | undefined {
  const text = textOf(data);
  if (text === null || text === "") return undefined;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function afterLast(text: string, mark: string): string {
  return text.slice(text.lastIndexOf(mark) + 1);
}

/** One line for people about a stored exception, as in `CardDeclined: no funds`. */
export function errorLine(data: Bytes | Uint8Array): string {
  const record = parsed(data) ?? null;
  if (record === null || typeof record !== "object" || Array.isArray(record)) return "(an error that cannot be read)";
  const { type, message } = record;
  const name = typeof type === "string" ? afterLast(afterLast(type, ":"), ".") : "";
  const said = typeof message === "string" ? message : "";
  const line = printable(said === "" ? name : `${name}: ${said}`);
  return line.length <= LINE_CHARS_MAX ? line : `${line.slice(0, LINE_CHARS_MAX - 3)}...`;
}

/** Line breaks, terminal escapes and right-to-left overrides would let an error write what it likes into a log. */
function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    const known: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
    if (known[character] !== undefined) return known[character];
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
  });
}

export type Outcome =
  | { kind: "completed"; result: Json | undefined }
  | { kind: "failed"; error: string }
  | { kind: "cancelled"; reason: string };

/** How a run ended: one word, a newline, and the value, the error or the reason. */
export function outcomeOf(data: Bytes): Outcome | null {
  const { head, rest } = parted(bytesOf(data));
  if (head === "completed") return { kind: "completed", result: valueOf(rest) };
  if (head === "failed") return { kind: "failed", error: errorLine(rest) };
  if (head !== "cancelled") return null;
  const reason = valueOf(rest);
  return { kind: "cancelled", reason: typeof reason === "string" ? reason : "" };
}

function parted(data: Uint8Array): { head: string; rest: Uint8Array } {
  const end = data.indexOf(0x0a);
  if (end < 0) return { head: textOf(data) ?? "", rest: new Uint8Array(0) };
  return { head: textOf(data.subarray(0, end)) ?? "", rest: data.subarray(end + 1) };
}

/** One journal entry for people. */
export interface StepEntry {
  position: number;
  /** Store time at which it was committed, seconds since the epoch. */
  at: number;
  /** As in Python's `handle.history()`: `step_completed`, `attempt_failed`, `timer_fired`, ... */
  event: string;
  /** Of the step, timer, signal, child or change. */
  name: string;
  /** Identity of the call. */
  call: string;
  attempt: number;
  value?: Json;
  error?: string;
}

interface Head {
  k?: unknown;
  c?: unknown;
  ok?: unknown;
  n?: unknown;
  g?: unknown;
}

const SETTLED: Record<string, string> = { timer: "timer_fired", signal: "signal_received", child: "child_ended" };
const NOTES: Record<string, string> = {
  cancel: "cancelled",
  timeout: "timed_out",
  patch: "patched",
  rebegun: "rebegun",
};

/** The part of a call's identity that people know: `charge` of `0.1/step/charge#0`. */
function nameOf(call: string): string {
  const name = call.split("/").slice(2).join("/") || call;
  return name.endsWith("#0") ? name.slice(0, -2) : name;
}

export function entryOf(row: { position: number; at: number; data: Bytes }): StepEntry {
  const { head: line, rest } = parted(bytesOf(row.data));
  const head = (parsed(line) ?? {}) as Head;
  const kind = typeof head.k === "string" ? head.k : "";
  const call = typeof head.c === "string" ? head.c : "";
  const attempt = typeof head.n === "number" ? head.n : 0;
  const base = { position: row.position, at: row.at, call, attempt, name: nameOf(call) };
  const progress = typeof head.g === "number" ? head.g : 0;
  switch (kind) {
    case "step":
    case "timer":
    case "signal":
    case "child":
      return { ...base, ...settled(kind, head.ok === 1, rest) };
    case "failed":
      return { ...base, event: "attempt_failed", error: errorLine(rest.subarray(progress)) };
    case "begun":
      return { ...base, event: "attempt_begun", value: valueOf(rest.subarray(0, progress)) };
    case "not_done":
      return { ...base, event: "not_done" };
    case "patch":
      return { ...base, call: "", name: call, event: "patched" };
    case "cancel":
    case "timeout":
      return { ...base, event: NOTES[kind] ?? kind, name: kind, value: valueOf(rest) };
    default:
      return { ...base, event: NOTES[kind] ?? "unreadable" };
  }
}

function settled(kind: string, ok: boolean, rest: Uint8Array): Pick<StepEntry, "event" | "value" | "error"> {
  if (kind === "timer") return { event: "timer_fired" };
  const event = SETTLED[kind] ?? (ok ? "step_completed" : "step_failed");
  if (!ok) return { event, error: errorLine(rest) };
  if (kind !== "child") return { event, value: valueOf(rest) };
  const end = outcomeOf(rest.slice().buffer as ArrayBuffer);
  if (end === null) return { event };
  if (end.kind === "completed") return { event, value: end.result };
  return { event, error: end.kind === "failed" ? end.error : `cancelled: ${end.reason}` };
}

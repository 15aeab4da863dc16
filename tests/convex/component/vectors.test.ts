import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { entryOf, errorLine, outcomeOf } from "@component/decoding";
import { asciiText, checkName, digestOf, dump, sendable } from "@component/json";
import type examples from "./vectors.json";

// Not imported as a module: that would make 0 of -0.
const vectors = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8")) as typeof examples;

test.each(vectors.starts)(
  "an input is written byte for byte as Python writes it: $raw",
  async ({ workflow, input, raw, digest }) => {
    expect(dump([input], "input")).toBe(raw);
    expect(await digestOf(workflow, [input], raw)).toBe(digest);
  },
);

test("a workflow without input is started as Python starts it", async () => {
  const { workflow, raw, digest } = vectors.empty;
  expect(dump([], "input")).toBe(raw);
  expect(await digestOf(workflow, [], raw)).toBe(digest);
});

test.each(vectors.errors)("an error is told in one line as Python tells it: $line", ({ raw, line }) => {
  expect(errorLine(raw)).toBe(line);
});

test.each(vectors.ends)("how a run ended is read as Python wrote it: $end.kind", ({ data, end }) => {
  expect(outcomeOf(data)).toEqual(end);
});

test.each(vectors.entries)("a journal entry is shown as Python shows it: $row.event $row.name", ({ data, row }) => {
  const shown = entryOf({ position: row.position, at: row.at, data });
  expect({ ...shown, value: shown.value ?? null, error: shown.error ?? null }).toEqual(row);
  const bytes = new TextEncoder().encode(data).buffer as ArrayBuffer;
  expect(entryOf({ position: row.position, at: row.at, data: bytes })).toEqual(shown);
});

test("an entry of a format that is not known is shown as unreadable", () => {
  expect(entryOf({ position: 3, at: 1, data: "\u0000 what" })).toMatchObject({ position: 3, event: "unreadable" });
});

test("a cancel's outcome is what Python writes", () => {
  const { reason, outcome } = vectors.cancelled;
  expect(`cancelled\n${asciiText(reason)}`).toBe(outcome);
});

test.each(vectors.names)("a name is taken exactly where Python takes it: $name", ({ name, fits }) => {
  if (fits) expect(checkName("name", name)).toBe(name);
  else expect(() => checkName("name", name)).toThrow(/INVALID_INPUT/);
});

test("what JSON would drop or change is refused, with its place", () => {
  const refused: [unknown, RegExp][] = [
    [Number.NaN, /NaN is not JSON/],
    [{ a: [1, Infinity] }, /x\.a\[1\]: Infinity/],
    [{ a: undefined }, /x\.a: a value of type undefined/],
    [1n, /type bigint/],
    [new Date(0), /only plain objects/],
    [new ArrayBuffer(1), /only plain objects/],
    ["\ud800", /lone surrogate/],
    [{ "\udc00": 1 }, /lone surrogate/],
  ];
  for (const [value, why] of refused) expect(() => dump(value, "x")).toThrow(why);
  let deep: unknown = 0;
  for (let n = 0; n < 300; n += 1) deep = [deep];
  expect(() => dump(deep, "x")).toThrow(/too deeply/);
  expect(() => dump("x".repeat(1024 * 1024), "x")).toThrow(/PAYLOAD_TOO_LARGE/);
});

test("values that Convex cannot hold come as their JSON text", () => {
  expect(sendable({ plain: [1, null, "ü"], "": 1 })).toEqual('{"plain":[1,null,"ü"],"":1}');
  expect(sendable({ plain: { ü: 1 }, ok: { $a: 1 } })).toEqual({ plain: '{"ü":1}', ok: '{"$a":1}' });
  expect(sendable(Array.from({ length: 8_193 }, () => 0))).toBe(
    `[${Array.from({ length: 8_193 }, () => 0).join(",")}]`,
  );
});

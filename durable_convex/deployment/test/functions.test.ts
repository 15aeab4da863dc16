import { describe, expect, test } from "vitest";
import { ConvexHttpClient } from "convex/browser";
import { ConvexError } from "convex/values";
import { start } from "./server.ts";

describe("functions and the database", () => {
  test("documents come back in the order of the index", async () => {
    const server = await start("basic");
    for (const [name, rank] of [
      ["c", 3],
      ["a", 1],
      ["b", 2],
      ["z", -1.5],
    ])
      await server.mutation("items:add", { name, rank });
    expect(await server.query("items:list")).toEqual(["z", "a", "b", "c"]);
    expect(await server.query("items:between", { low: 1, high: 3, order: "asc" })).toEqual(["a", "b"]);
    expect(await server.query("items:between", { low: -2, high: 3, order: "desc" })).toEqual(["b", "a", "z"]);
    expect(await server.query("items:filtered", { min: 1 })).toEqual(["c", "a"]);
  });

  test("values of all kinds keep their order in an index and come back as they were", async () => {
    const server = await start("basic");
    const client = new ConvexHttpClient(server.url);
    const ordered = [
      null,
      -5n,
      7n,
      -Infinity,
      -1.5,
      -0,
      0,
      2,
      NaN,
      false,
      true,
      "",
      "a",
      "a\u0000",
      "a\u0000b",
      "ab",
      "é",
      "😀",
      new Uint8Array([0, 1]).buffer,
      [],
      [1],
      [1, 2],
      {},
      { a: 1 },
    ];
    for (const key of [...ordered].reverse())
      await client.mutation("items:keep" as never, { key, value: key } as never);
    expect(await client.query("items:kept" as never)).toEqual(ordered);
    expect(await client.query("items:echo" as never, { value: ordered } as never)).toEqual(ordered);
  });

  test("patch, replace and delete do what they say", async () => {
    const server = await start("basic");
    const id = await server.mutation("items:add", { name: "a", rank: 1 });
    expect(await server.mutation("items:change", { id, how: "patch", patch: { any: 5, rank: 2 } })).toMatchObject({
      name: "a",
      rank: 2,
      any: 5,
    });
    expect(await server.mutation("items:change", { id, how: "patch", patch: {}, unset: "any" })).not.toHaveProperty(
      "any",
    );
    expect(await server.mutation("items:change", { id, how: "replace", patch: { name: "b", rank: 3 } })).toMatchObject({
      _id: id,
      name: "b",
      rank: 3,
    });
    await server.mutation("items:change", { id, how: "delete", patch: {} });
    expect(await server.query("items:get", { id })).toBeNull();
    await expect(server.mutation("items:change", { id, how: "delete", patch: {} })).rejects.toThrow("does not exist");
  });

  test("arguments, results and documents are validated", async () => {
    const server = await start("basic");
    await expect(server.mutation("items:add", { name: "a", rank: "1" })).rejects.toThrow("ArgumentValidationError");
    await expect(server.mutation("items:add", { name: "a" })).rejects.toThrow("missing the required field `rank`");
    await expect(server.mutation("items:add", { name: "a", rank: 1, more: 1 })).rejects.toThrow("extra field `more`");
    await expect(server.query("items:wrongReturn")).rejects.toThrow("ReturnsValidationError");
    const id = await server.mutation("items:add", { name: "a", rank: 1 });
    await expect(server.mutation("items:change", { id, how: "patch", patch: { rank: "no" } })).rejects.toThrow(
      "does not match the schema",
    );
    const other = await server.mutation("items:keep", { key: 1, value: 1 });
    await expect(server.mutation("items:change", { id: other, how: "delete", patch: {} })).rejects.toThrow(
      'no id of table "items"',
    );
    expect(await server.query("items:normalize", { table: "items", id })).toBe(id);
    expect(await server.query("items:normalize", { table: "items", id: other })).toBeNull();
  });

  test("an error undoes the whole mutation, and a ConvexError brings its data", async () => {
    const server = await start("basic");
    await expect(server.mutation("items:fail", { how: "plain" })).rejects.toThrow(
      /Uncaught Error: a secret of the server\n.*at handler \(\.\.\/items\.ts:\d+/,
    );
    const client = new ConvexHttpClient(server.url);
    const error = await client
      .mutation("items:fail" as never, { how: "convex" } as never)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConvexError);
    expect((error as ConvexError<never>).data).toEqual({ code: "NO", count: 5n });
    expect(await server.query("items:list")).toEqual([]);
  });

  test("production tells nothing of an error but the data of a ConvexError", async () => {
    const server = await start("basic", ["--prod"]);
    const plain = await server.post("/api/mutation", { path: "items:fail", args: { how: "plain" } });
    expect(plain.body.errorMessage).toMatch(/^\[Request ID: [0-9a-f]+\] Server Error$/);
    const known = await server.post("/api/mutation", {
      path: "items:fail",
      args: { how: "convex" },
      format: "convex_encoded_json",
    });
    expect(known.body.errorMessage).toMatch(/Server Error$/);
    expect(known.body.errorData).toEqual({ code: "NO", count: { $integer: "BQAAAAAAAAA=" } });
  });

  test("whole numbers are written with a fraction, as the backend does", async () => {
    const server = await start("basic");
    const response = await fetch(`${server.url}/api/query`, {
      method: "POST",
      body: JSON.stringify({ path: "items:echo", args: { value: [1, 1.5, 1e21, "1"] }, format: "convex_encoded_json" }),
    });
    expect(await response.text()).toBe('{"status":"success","value":[1.0,1.5,1e+21,"1"]}');
  });

  test("time stands still in a mutation, and there is no network and no timer", async () => {
    const server = await start("basic");
    expect(await server.mutation("items:clock")).toEqual({ same: true, isDate: true });
    await expect(server.mutation("items:fail", { how: "fetch" })).rejects.toThrow(
      "Can't use fetch() in queries and mutations",
    );
    await expect(server.mutation("items:fail", { how: "timer" })).rejects.toThrow(
      "Can't use setTimeout() in queries and mutations",
    );
  });

  test("globals that a function replaces are its own", async () => {
    const server = await start("basic");
    expect(await server.mutation("items:replaceGlobals")).toBe(1);
    for (let at = 0; at < 5; at++) expect(await server.mutation("items:globals")).toEqual([true, true]);
  });

  test("crypto.subtle works in queries", async () => {
    const server = await start("basic");
    expect(await server.query("items:digest", { text: "abc" })).toBe(
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
  });

  test("internal functions are hidden from clients and not from administrators", async () => {
    const server = await start("basic");
    await expect(server.mutation("items:hidden", { name: "x" })).rejects.toThrow("Could not find public function");
    await server.admin("/api/mutation", { path: "items:hidden", args: { name: "x" } });
    expect(await server.query("items:list")).toEqual(["x"]);
    const denied = await server.post("/api/function", { path: "lib:all", componentPath: "box", args: {} });
    expect(denied.status).toBe(403);
    const wrong = await server.post("/api/query", { path: "items:list", args: {} }, { Authorization: "Convex wrong" });
    expect([wrong.status, wrong.body.code]).toEqual([401, "BadAdminKey"]);
  });

  test("an action calls functions and fetches", async () => {
    const server = await start("basic");
    expect(await server.call("action", "items:act", { url: server.url })).toEqual({
      version: "development",
      names: ["from an action"],
    });
  });

  test('a file that says "use node" may use Node, and sees the environment of the deployment only', async () => {
    const server = await start("basic", ["--env", "SECRET=shh"]);
    expect(await server.call("action", "node:hash", { text: "abc" })).toEqual({
      hash: "900150983cd24fb0d6963f7d28e17f72",
      platform: process.platform,
      secret: "shh",
      home: null,
    });
  });

  test("pages follow one another, and a re-run page keeps its end", async () => {
    const server = await start("basic");
    for (let rank = 0; rank < 5; rank++) await server.mutation("items:add", { name: `n${rank}`, rank });
    const names: string[] = [];
    let cursor: string | null = null;
    for (let isDone = false; !isDone;) {
      const page: any = await server.query("items:page", { opts: { numItems: 2, cursor } });
      names.push(...page.page.map((item: { name: string }) => item.name));
      ({ isDone, continueCursor: cursor } = page);
    }
    expect(names).toEqual(["n0", "n1", "n2", "n3", "n4"]);
    const first = await server.query("items:page", { opts: { numItems: 2, cursor: null } });
    await server.mutation("items:add", { name: "between", rank: 0.5 });
    const again = await server.query("items:page", {
      opts: { numItems: 2, cursor: null, endCursor: first.continueCursor },
    });
    expect(again.page.map((item: { name: string }) => item.name)).toEqual(["n0", "between", "n1"]);
    await expect(server.query("items:twoPages")).rejects.toThrow("multiple paginated queries");
  });

  test("a commit timestamp is known after the commit, and in the order of commits", async () => {
    const server = await start("basic");
    for (let at = 0; at < 3; at++) await server.mutation("items:stamp");
    const stamps = (await server.query("items:stamps")).map(BigInt);
    expect(stamps).toHaveLength(3);
    expect(stamps[0] < stamps[1] && stamps[1] < stamps[2]).toBe(true);
  });

  test("functions called at once in one mutation run one after the other", async () => {
    const server = await start("basic");
    expect(await server.mutation("items:both")).toEqual([1, 2, 3]);
  });

  test("a re-used environment variable changes what queries see", async () => {
    const server = await start("basic", ["--env", "SECRET=one"]);
    expect((await server.query("items:around")).outside.secret).toBe("one");
    await server.admin("/api/update_environment_variables", { changes: [{ name: "SECRET", value: "two" }] });
    expect((await server.query("items:around")).outside.secret).toBe("two");
    await server.admin("/api/update_environment_variables", { changes: [{ name: "SECRET" }] });
    expect((await server.query("items:around")).outside.secret).toBeNull();
    expect((await server.post("/api/update_environment_variables", { changes: [] })).status).toBe(401);
  });
});

const TOO_MUCH: [string, unknown, string][] = [
  ["items:keep", { key: 1, value: "x".repeat(1 << 20) }, "too large"],
  ["items:keep", { key: 1, value: Array.from({ length: 8193 }, () => 1) }, "array of length 8193"],
  [
    "items:keep",
    { key: 1, value: Object.fromEntries(Array.from({ length: 1025 }, (_, at) => [`f${at}`, 1])) },
    "1025 fields",
  ],
  ["items:keep", { key: 1, value: JSON.parse("[".repeat(17) + "]".repeat(17)) }, "nested too deeply"],
  ["items:many", { count: 16_001 }, "Too many writes"],
  ["items:keep", { key: 1, value: { $odd: 1 } }, "starts with a '$'"],
];

describe("the limits of the platform", () => {
  test("what is too much is refused", async () => {
    const server = await start("basic");
    for (const [path, args, message] of TOO_MUCH) await expect(server.mutation(path, args)).rejects.toThrow(message);
    expect(await server.query("items:kept")).toEqual([]);
  });

  test("a function may open 4,096 ranges and no more", async () => {
    const own = await start("basic");
    await own.query("items:reads", { count: 4096 });
    await expect(own.query("items:reads", { count: 4097 })).rejects.toThrow("Too many reads");
    expect((await own.mutation("items:metrics")).documentsWritten).toEqual({ used: 1, remaining: 15_999 });
  });
});

describe("options of calls between functions", () => {
  test("a caller may limit what a function uses, and catch its failure", async () => {
    const server = await start("basic");
    expect(await server.mutation("items:limited", { count: 1 })).toBe("within");
    expect(await server.mutation("items:limited", { count: 2 })).toContain("limit set by the caller: 1");
    expect(await server.query("items:kept")).toHaveLength(1);
  });

  test("a stale snapshot does not show the mutation's own writes", async () => {
    const server = await start("basic");
    expect(await server.mutation("items:stale")).toEqual([1, 0]);
    expect(await server.mutation("items:stale")).toEqual([2, 1]);
  });
});

describe("components", () => {
  test("each instance has tables of its own, and a call that fails is undone alone", async () => {
    const server = await start("basic");
    await server.mutation("items:inBox", { value: 1, fail: false });
    expect(await server.mutation("items:inBox", { value: 2, fail: true })).toBe("caught true");
    expect(await server.query("items:boxed")).toEqual([[1], []]);
    expect(await server.query("items:list")).toEqual(["outside", "outside"]);
    expect(await server.admin("/api/function", { path: "lib:all", componentPath: "box", args: {} })).toMatchObject({
      value: [1],
    });
  });

  test("they neither paginate nor show internal functions", async () => {
    const server = await start("basic");
    await expect(server.query("items:boxPage")).rejects.toThrow("not supported in components");
    await expect(server.query("items:boxHidden")).rejects.toThrow("Could not find");
  });

  test("they see declared environment variables only", async () => {
    const server = await start("basic", ["--env", "SECRET=shh"]);
    expect((await server.query("items:around")).inside).toEqual({
      identity: null,
      given: "shh",
      fixed: "fixed",
      secret: null,
    });
  });
});

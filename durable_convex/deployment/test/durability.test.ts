import { appendFileSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ADMIN_KEY, start, temporaryDirectory, until, type Server } from "./server.ts";

async function stats(server: Server): Promise<any> {
  return (
    await fetch(`${server.url}/api/development/stats`, { headers: { Authorization: `Convex ${ADMIN_KEY}` } })
  ).json();
}

describe("the disk", () => {
  test("nothing that was answered is lost by kill -9, and ids and environment stay", async () => {
    const data = temporaryDirectory();
    let server = await start("basic", ["--data", data, "--env", "SECRET=kept"]);
    const id = await server.mutation("items:add", { name: "first", rank: 1 });
    let answered = 0;
    for (let round = 0; round < 3; round++) {
      const running = server;
      const bump = async (): Promise<void> => {
        for (;;) {
          await running.mutation("items:bump", { name: "n" });
          answered += 1;
        }
      };
      const workers = Promise.allSettled(Array.from({ length: 8 }, bump));
      const goal = answered + 30;
      await until(
        async () => answered,
        (count) => count >= goal,
      );
      await running.stop("SIGKILL");
      await workers;
      server = await start("basic", ["--data", data]);
      const counted = await server.query("items:counter", { name: "n" });
      expect(counted).toBeGreaterThanOrEqual(answered);
      // What was in flight at the kill may have been committed unanswered: at most one per worker and round.
      expect(counted).toBeLessThanOrEqual(answered + 8 * (round + 1));
    }
    expect(await server.query("items:get", { id })).toMatchObject({ _id: id, name: "first" });
    expect((await server.query("items:around")).outside.secret).toBe("kept");
    await server.mutation("items:change", { id, how: "patch", patch: { rank: 5 } });
  });

  test("a torn last line is dropped, and what follows it is kept", async () => {
    const data = temporaryDirectory();
    const log = join(data, "log.jsonl");
    let server = await start("basic", ["--data", data]);
    await server.mutation("items:add", { name: "whole", rank: 1 });
    await server.mutation("items:add", { name: "torn", rank: 2 });
    await server.stop("SIGKILL");
    truncateSync(log, statSync(log).size - 5);
    server = await start("basic", ["--data", data]);
    expect(await server.query("items:list")).toEqual(["whole"]);
    await server.mutation("items:add", { name: "after", rank: 3 });
    await server.stop("SIGKILL");
    server = await start("basic", ["--data", data]);
    expect(await server.query("items:list")).toEqual(["whole", "after"]);
  });

  test("damage in the middle is refused, not skipped", async () => {
    const data = temporaryDirectory();
    const server = await start("basic", ["--data", data]);
    await server.mutation("items:add", { name: "a", rank: 1 });
    await server.stop("SIGKILL");
    appendFileSync(join(data, "log.jsonl"), "garbage\n");
    await expect(start("basic", ["--data", data])).rejects.toThrow("is damaged");
  });

  test("the snapshot takes over what the log held", async () => {
    const data = temporaryDirectory();
    let server = await start("basic", ["--data", data]);
    for (let rank = 0; rank < 5; rank++) await server.mutation("items:add", { name: `n${rank}`, rank });
    await server.stop("SIGTERM");
    server = await start("basic", ["--data", data]);
    expect(readFileSync(join(data, "log.jsonl"), "utf8")).toBe("");
    expect(await server.query("items:list")).toEqual(["n0", "n1", "n2", "n3", "n4"]);
  });
});

describe("the log", () => {
  test("is replaced by a snapshot when it has grown large, and nothing is lost", async () => {
    const data = temporaryDirectory();
    let server = await start("basic", ["--data", data]);
    const text = "x".repeat(900_000);
    const keys = Array.from({ length: 80 }, (_, key) => key);
    for (const key of keys) await server.mutation("items:keep", { key, value: text });
    expect(statSync(join(data, "snapshot.jsonl")).size).toBeGreaterThan(60_000_000);
    expect(statSync(join(data, "log.jsonl")).size).toBeLessThan(20_000_000);
    await server.stop("SIGKILL");
    server = await start("basic", ["--data", data]);
    expect((await stats(server)).documents.loose).toBe(keys.length);
  });
});

describe("conflicts", () => {
  test("counters that all bump at once lose no bump, and conflicts are run again", async () => {
    const server = await start("basic", ["--shuffle", "--overlap", "20"]);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, () => server.mutation("items:bump", { name: "n" })),
    );
    const succeeded = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect(await server.query("items:counter", { name: "n" })).toBe(succeeded);
    const { conflicts, calls } = await stats(server);
    expect(conflicts).toBeGreaterThan(0);
    // What was asked for is counted, however often it had to run.
    expect(calls).toEqual({ queries: 1, reruns: 0, mutations: 12, actions: 0 });
  });

  test("of mutations that insert what is not there yet, one inserts it", async () => {
    const server = await start("basic", ["--shuffle", "--overlap", "20"]);
    const names = ["a", "b", "c"];
    const asked = await Promise.all(
      names.flatMap((name) => [0, 1, 2, 3].map(() => server.mutation("items:ensure", { name }))),
    );
    expect(asked.filter((inserted) => inserted)).toHaveLength(names.length);
    expect((await server.query("items:list")).sort()).toEqual(names);
    expect((await stats(server)).conflicts).toBeGreaterThan(0);
  });

  test("mutations that only insert do not conflict", async () => {
    const server = await start("basic");
    await Promise.all(
      Array.from({ length: 50 }, (_, rank) => server.mutation("items:add", { name: `n${rank}`, rank })),
    );
    expect((await stats(server)).conflicts).toBe(0);
  });

  test("forced conflicts change nothing but the time it takes", async () => {
    const server = await start("basic", ["--chaos-occ", "0.3"]);
    let bumped = 0;
    // Chance decides which are struck: until ten have gone through and one has been run again.
    while (bumped < 10 || (await stats(server)).conflicts === 0) {
      await server.mutation("items:bump", { name: "n" }).then(
        () => bumped++,
        (error: Error) => expect(error.message).toContain("503"),
      );
    }
    expect(await server.query("items:counter", { name: "n" })).toBe(bumped);
  });

  test("a mutation that conflicts five times is answered with 503, and nothing is written", async () => {
    const server = await start("basic", ["--chaos-occ", "1"]);
    const { status, body } = await server.post("/api/mutation", { path: "items:add", args: { name: "a", rank: 1 } });
    expect([status, body.code]).toEqual([503, "OptimisticConcurrencyControlFailure"]);
    expect(await server.query("items:list")).toEqual([]);
  });
});

describe("faults", () => {
  test("a lost response is a commit that nobody hears of", async () => {
    const server = await start("basic", ["--lose-responses", "1"]);
    await expect(server.mutation("items:add", { name: "a", rank: 1 })).rejects.toThrow("fetch failed");
    expect(await server.query("items:list")).toEqual(["a"]);
  });

  test("503 and 429 are answered before anything runs, and faults are switched at run time", async () => {
    const server = await start("basic");
    await server.admin("/api/development/faults", { unavailable: 1 });
    await expect(server.mutation("items:add", { name: "a", rank: 1 })).rejects.toThrow("503 ServiceUnavailable");
    await server.admin("/api/development/faults", { unavailable: 0, tooMany: 1 });
    await expect(server.mutation("items:add", { name: "a", rank: 1 })).rejects.toThrow("429 TooManyConcurrentRequests");
    await server.admin("/api/development/faults", { tooMany: 0 });
    expect(await server.query("items:list")).toEqual([]);
    expect((await server.post("/api/development/faults", { tooMany: 1 })).status).toBe(401);
    await expect(server.admin("/api/development/faults", { toMany: 1 })).rejects.toThrow("There is no fault");
    await expect(server.admin("/api/development/faults", { tooMany: 2 })).rejects.toThrow("chances are from 0 to 1");
  });

  test("latency is added each way", async () => {
    const server = await start("basic", ["--latency", "40"]);
    const before = performance.now();
    await server.query("items:list");
    expect(performance.now() - before).toBeGreaterThanOrEqual(79);
  });
});

import { describe, expect, test } from "vitest";
import { start, temporaryDirectory, until, type Server } from "./server.ts";

/** As clients do: what was answered with 503 has not happened, and is asked for again. */
async function insist(server: Server, path: string, args: unknown): Promise<unknown> {
  for (;;) {
    try {
      return await server.mutation(path, args);
    } catch (error) {
      if (!(error as Error).message.startsWith("503")) throw error;
    }
  }
}

describe("scheduled functions", () => {
  test("mutations and actions run when they are due, and their documents tell how they ended", async () => {
    const server = await start("basic");
    const note = await server.mutation("jobs:later", { ms: 0, name: "note", how: "note" });
    await until(
      () => server.query("jobs:state", { id: note }),
      (state) => state.kind === "success",
    );
    const far = await server.mutation("jobs:later", { ms: 3_600_000, name: "far", how: "note" });
    expect((await server.query("jobs:state", { id: far })).kind).toBe("pending");
    const act = await server.mutation("jobs:later", { ms: 50, name: "act", how: "act" });
    await until(
      () => server.query("jobs:state", { id: act }),
      (state) => state.kind === "success",
    );
    expect((await server.query("items:list")).sort()).toEqual(["act", "note"]);
    await server.call("action", "jobs:fromAction", { name: "from an action" });
    await until(
      () => server.query("items:list"),
      (names) => names.includes("from an action"),
    );
  });

  test("one that fails leaves no writes and is not tried again", async () => {
    const server = await start("basic");
    const id = await server.mutation("jobs:later", { ms: 0, name: "x", how: "broken" });
    const state = await until(
      () => server.query("jobs:state", { id }),
      ({ kind }) => kind === "failed",
    );
    expect(state.error).toContain("broken");
    expect(await server.query("items:list")).toEqual([]);
  });

  test("scheduling is part of the mutation: one that fails schedules nothing", async () => {
    const server = await start("basic");
    await expect(server.mutation("jobs:later", { ms: 0, name: "x", how: "note", fail: true })).rejects.toThrow();
    expect(await server.query("jobs:pending")).toEqual([]);
  });

  test("one that is cancelled does not run", async () => {
    const server = await start("basic");
    const id = await server.mutation("jobs:later", { ms: 2_500, name: "x", how: "note" });
    expect(await server.query("jobs:pending")).toMatchObject([{ name: "jobs.js:note", args: [{ name: "x" }] }]);
    await server.mutation("jobs:cancel", { id });
    const after = await server.mutation("jobs:later", { ms: 2_500, name: "later", how: "note" });
    await until(
      () => server.query("jobs:state", { id: after }),
      ({ kind }) => kind === "success",
    );
    expect((await server.query("jobs:state", { id })).kind).toBe("canceled");
    expect(await server.query("items:list")).toEqual(["later"]);
  });

  test("each runs exactly once over kill -9 and forced conflicts", async () => {
    const data = temporaryDirectory();
    let server = await start("basic", ["--data", data, "--chaos-occ", "0.2"]);
    const names = Array.from({ length: 40 }, (_, at) => `job ${at}`);
    await Promise.all(names.map((name, at) => insist(server, "jobs:later", { ms: at * 10, name, how: "note" })));
    await until(
      () => server.query("items:list"),
      (found) => found.length > 5,
    );
    await server.stop("SIGKILL");
    server = await start("basic", ["--data", data]);
    const found = await until(
      () => server.query("items:list"),
      (list) => list.length >= names.length,
    );
    expect(found.sort()).toEqual([...names].sort());
  });
});

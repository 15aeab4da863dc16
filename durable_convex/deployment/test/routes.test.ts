import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { nextTime } from "../src/cron_times.ts";
import { ADMIN_KEY, start, temporaryDirectory, until } from "./server.ts";

/** Runs the tool in a project that is empty, so that it knows of no deployment but this server. */
async function runTool(url: string, words: string[]): Promise<string> {
  const tool = join(import.meta.dirname, "node_modules", "convex", "bin", "main.js");
  const env = { ...process.env, CONVEX_SELF_HOSTED_URL: url, CONVEX_SELF_HOSTED_ADMIN_KEY: ADMIN_KEY };
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, "package.json"), '{"name": "empty", "dependencies": {"convex": "*"}}');
  const { stdout } = await promisify(execFile)(process.execPath, [tool, ...words], { env, cwd });
  return stdout.trim();
}

describe("HTTP actions", () => {
  test("are routed, read requests and write responses", async () => {
    const server = await start("basic");
    const response = await fetch(`${server.url}/http/items`, {
      method: "POST",
      body: '{"name":"by http"}',
      headers: { "X-Sent": "yes" },
    });
    expect([response.status, response.headers.get("x-seen")]).toEqual([201, "yes"]);
    expect(await response.json()).toMatchObject({ url: "/items", id: expect.any(String) });
    expect(await server.query("items:list")).toEqual(["by http"]);
    expect((await fetch(`${server.url}/http/nothing`)).status).toBe(404);
  });

  test("that fail answer 500, without details in production", async () => {
    const server = await start("basic", ["--prod"]);
    const response = await fetch(`${server.url}/http/fail/now`);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
  });
});

describe("cron jobs", () => {
  test("an interval runs at once and again and again, other schedules only when they are due", async () => {
    const server = await start("crons");
    expect(
      await until(
        () => server.query("ticks:all"),
        (ticks) => ticks.length >= 2,
      ),
    ).toEqual([2, 2]);
  });

  test.each([
    [{ type: "hourly", minuteUTC: 30 }, "2026-01-31T10:30:00Z"],
    [{ type: "daily", hourUTC: 9 }, "2026-02-01T09:00:00Z"],
    [{ type: "weekly", dayOfWeek: "monday", hourUTC: 8, minuteUTC: 5 }, "2026-02-02T08:05:00Z"],
    [{ type: "monthly", day: 31, hourUTC: 0 }, "2026-03-31T00:00:00Z"],
    [{ type: "cron", cron: "*/15 10-12 * * *" }, "2026-01-31T10:15:00Z"],
    [{ type: "cron", cron: "0 0 29 feb *" }, "2028-02-29T00:00:00Z"],
    [{ type: "cron", cron: "0 12 13 * fri" }, "2026-02-06T12:00:00Z"],
    [{ type: "cron", cron: "5 4 * * 0,7" }, "2026-02-01T04:05:00Z"],
  ] as const)("%o comes due at %s", (schedule, expected) => {
    const after = Date.parse("2026-01-31T10:07:12Z");
    expect(new Date(nextTime(schedule as never, after)).toISOString()).toBe(expected.replace("Z", ".000Z"));
  });
});

describe("the HTTP interface", () => {
  test("several queries of one request see one moment", async () => {
    const server = await start("basic");
    await server.mutation("items:bump", { name: "n" });
    const queries = [0, 1].map(() => ({ path: "items:counter", args: { name: "n" }, format: "json" }));
    const { body } = await server.post("/api/query_batch", { queries });
    expect(body.results).toEqual([
      { status: "success", value: 1 },
      { status: "success", value: 1 },
    ]);
  });

  test("functions are run by URL, and a query by GET", async () => {
    const server = await start("basic");
    expect((await server.post("/api/run/items/bump", { args: { name: "n" } })).body).toEqual({
      status: "success",
      value: 1,
    });
    const args = encodeURIComponent(JSON.stringify({ name: "n" }));
    const got = await fetch(`${server.url}/api/query?path=items:counter&args=${args}&format=json`);
    expect(await got.json()).toEqual({ status: "success", value: 1 });
  });

  test("what is no request is refused", async () => {
    const server = await start("basic");
    const broken = await fetch(`${server.url}/api/query`, { method: "POST", body: "{" });
    expect([broken.status, ((await broken.json()) as { code: string }).code]).toEqual([400, "BadJsonBody"]);
    await expect(server.query("items:nothing")).rejects.toThrow("Could not find public function");
    await expect(server.query("items:add", { name: "a", rank: 1 })).rejects.toThrow(
      "Trying to execute items:add as Query, but it is defined as Mutation",
    );
  });
});

describe("the command line tool of Convex", () => {
  test("sets, gets and lists environment variables, and runs functions", async () => {
    const server = await start("basic", ["--env", "SECRET=before"]);
    const convex = (...words: string[]): Promise<string> => runTool(server.url, words);
    await convex("env", "set", "SECRET", "after");
    expect(await convex("env", "get", "SECRET")).toBe("after");
    expect(await convex("env", "list")).toBe("SECRET=after");
    expect(JSON.parse(await convex("run", "items:bump", '{"name": "n"}'))).toBe(1);
    await convex("env", "remove", "SECRET");
    expect((await server.query("items:around")).outside.secret).toBeNull();
  });
});

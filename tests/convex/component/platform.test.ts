/** How the component lies in Convex: what is written when, and how large it may be. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { sizeOf } from "@component/payloads";
import { compare, placeOf } from "@component/places";
import { ask, CALLER, claim, engine, mutate, read, SESSION, sync, table, WORKER, type Engine } from "./engine";

beforeEach(() => {
  process.env.DURABLE_TOKEN = WORKER;
  process.env.DURABLE_CALLER_TOKEN = CALLER;
});

afterEach(() => {
  delete process.env.DURABLE_TOKEN;
  delete process.env.DURABLE_CALLER_TOKEN;
  vi.useRealTimers();
});

const TABLES = ["runs", "tasks", "journal", "stamps", "messages", "values", "sessions", "leases", "payloads"];

/** The tables that differ after `act`. */
async function written(app: Engine, act: () => Promise<unknown>): Promise<string[]> {
  const before = await Promise.all(TABLES.map((name) => table(app, name)));
  await act();
  const after = await Promise.all(TABLES.map((name) => table(app, name)));
  return TABLES.filter((_, n) => JSON.stringify(before[n]) !== JSON.stringify(after[n]));
}

async function start(app: Engine, id: string, input?: unknown): Promise<void> {
  await mutate(app, "durable:start", { token: CALLER, workflow: "checkout", id, input });
}

async function end(app: Engine, id: string): Promise<void> {
  const then = { is: "Ended", status: "completed", outcome: "completed\nnull", keep_seconds: 0 };
  const [row] = await read(app, { ask: "get", runs: [id] });
  const { epoch, position } = row;
  const [answer] = await sync(app, { op: "commit", commits: [{ run: id, epoch, seq: 0, position, then }] });
  expect(answer.verdict).toBe("applied");
}

test("a heartbeat is one small write, and none that a dashboard reads", async () => {
  const app = engine();
  await start(app, "r");
  await claim(app);
  expect(await written(app, () => sync(app, { op: "renew", session: SESSION }))).toEqual(["leases"]);
});

test("a step is one journal row and the run's hot document; its cold one stays as it is", async () => {
  const app = engine();
  await start(app, "r");
  await claim(app);
  const commit = { run: "r", epoch: 1, seq: 0, position: 0, append: ["entry"] };
  expect(await written(app, () => sync(app, { op: "commit", commits: [commit] }))).toEqual(["tasks", "journal"]);
  expect(await written(app, () => sync(app, { op: "commit", commits: [commit] }))).toEqual([]);
});

test("who is not due is not in the claim index", async () => {
  const app = engine();
  await start(app, "r");
  await claim(app);
  const [task] = await table(app, "tasks");
  expect(task).not.toHaveProperty("dueLane");
  expect(task).not.toHaveProperty("dueAt");
  expect(task.owner).toBe("s1");
});

test("large payloads of any kind come back whole, in documents under a mebibyte", async () => {
  const app = engine();
  const texts = ["🦊é x".repeat(150_000), "a".repeat(1024 * 1024), "é".repeat(500_000) + "\ud83e\udd8a"];
  const bytes = new Uint8Array(1024 * 1024).map((_, n) => (n * 31) % 256).buffer;
  const kept = [...texts, bytes, "", new ArrayBuffer(0)];
  await start(app, "r");
  await claim(app);
  for (const [n, entry] of kept.entries()) {
    await sync(app, { op: "commit", commits: [{ run: "r", epoch: 1, seq: n, position: n, append: [entry] }] });
  }
  const rows = [];
  for (let next: number | null = 0; next !== null;) {
    const page: any = await read(app, { ask: "journal", run: "r", generation: 1, start: next, limit: 100 });
    rows.push(...page.rows);
    next = page.next;
  }
  expect(rows.map((row: any) => row.data)).toEqual(kept);
  for (const part of await table(app, "payloads")) expect(sizeOf(part.data)).toBeLessThanOrEqual(700_000);
});

test("sizes are those of UTF-8", () => {
  for (const text of ["", "a", "é", "\u07ff\u0800", "\uffff", "🦊", "a🦊é", "🦊".repeat(9)]) {
    expect(sizeOf(text)).toBe(new TextEncoder().encode(text).length);
  }
});

test("places sort by time and then by id, in the order of code points", () => {
  const times = [-5.5, -0.25, 0, 1e-9, 0.5, 1, 1.5, 1_700_000_000, 1_700_000_000.000001, 4e9];
  const ids = ["", " ", "!", "a", "a!", "é", "\uffff", "🦊"];
  const places = times.flatMap((time) => ids.map((id) => placeOf(time, id)));
  const utf8 = (text: string) => Buffer.from(text, "utf8");
  expect([...places].sort(compare)).toEqual(places);
  expect([...places].sort((one, other) => Buffer.compare(utf8(one), utf8(other)))).toEqual(places);
});

test("a purged run leaves nothing behind, though it is too large for one transaction", async () => {
  const app = engine();
  await start(app, "r", { text: "x".repeat(100_000) });
  await claim(app);
  const entries = Array.from({ length: 2_500 }, (_, n) => `entry ${n}`);
  await sync(app, { op: "commit", commits: [{ run: "r", epoch: 1, seq: 0, position: 0, append: entries }] });
  const then = { is: "Ended", status: "completed", outcome: "completed\nnull" };
  await sync(app, { op: "commit", commits: [{ run: "r", epoch: 1, seq: 1, position: 2_500, then }] });
  vi.useFakeTimers();
  expect(await sync(app, { op: "purge", query: { limit: 10 } })).toBe(1);
  expect(await ask(app, "durable:get", { token: CALLER, run: "r" })).toBe(null);
  expect((await table(app, "journal")).length).toBeGreaterThan(0);
  await app.finishAllScheduledFunctions(vi.runAllTimers);
  for (const name of [...TABLES, "graves", "labels", "parts", "streams", "requests"]) {
    if (name !== "sessions" && name !== "leases") expect(await table(app, name), name).toEqual([]);
  }
  expect(await sync(app, { op: "purge", query: { limit: 10 } })).toBe(0);
});

test("what a purged run has left does not show in a new run of the same id", async () => {
  const app = engine();
  await start(app, "r");
  await claim(app);
  const append = Array.from({ length: 2_500 }, (_, n) => `entry ${n}`);
  await sync(app, { op: "commit", commits: [{ run: "r", epoch: 1, seq: 0, position: 0, append }] });
  const then = { is: "Ended", status: "completed", outcome: "completed\nnull" };
  await sync(app, { op: "commit", commits: [{ run: "r", epoch: 1, seq: 1, position: 2_500, then }] });
  vi.useFakeTimers();
  expect(await sync(app, { op: "purge", query: {} })).toBe(1);
  await start(app, "r");
  const page = await read(app, { ask: "journal", run: "r", generation: 1, start: 0, limit: 10 });
  expect(page).toEqual({ rows: [], next: null });
  await app.finishAllScheduledFunctions(vi.runAllTimers);
  expect(await ask(app, "durable:get", { token: CALLER, run: "r" })).toMatchObject({ status: "pending" });
});

test("watch changes when there is something to do, and not for heartbeats and steps", async () => {
  const app = engine();
  await claim(app);
  const watch = async () => await ask(app, "durable:watch", { token: WORKER, session: "s1" });
  const seen = [await watch()];
  const changes = async (act: () => Promise<unknown>) => {
    await act();
    const now = await watch();
    const changed = now !== seen[seen.length - 1];
    seen.push(now);
    return changed;
  };
  expect(await changes(() => start(app, "r"))).toBe(true);
  await claim(app);
  seen.push(await watch());
  const commit = { run: "r", epoch: 1, seq: 0, position: 0, append: ["entry"] };
  expect(await changes(() => sync(app, { op: "commit", commits: [commit] }))).toBe(false);
  expect(await changes(() => sync(app, { op: "renew", session: SESSION }))).toBe(false);
  expect(await changes(() => mutate(app, "durable:signal", { token: CALLER, run: "r", name: "n" }))).toBe(true);
  const other = async () => await ask(app, "durable:watch", { token: WORKER });
  const before = await other();
  const then = { is: "Ended", status: "completed", outcome: "completed\nnull" };
  expect(
    await changes(() => sync(app, { op: "commit", commits: [{ run: "r", epoch: 1, seq: 1, position: 1, then }] })),
  ).toBe(true);
  expect(await other()).not.toBe(before);
});

test("expired runs go by their own time", async () => {
  const app = engine();
  await start(app, "r");
  await claim(app);
  await end(app, "r");
  expect(await sync(app, { op: "purge", query: { expired: true } })).toBe(1);
});

test("what would make one answer too large comes with the next", async () => {
  const app = engine();
  const runs = Array.from({ length: 8 }, (_, n) => ({
    id: `r${n}`,
    workflow: "checkout",
    queue: "default",
    input: "[]",
    digest: "d",
    seed: "s",
    on_complete: "x".repeat(1024 * 1024 - n),
  }));
  await sync(app, { op: "create", runs });
  const pages = [];
  for (let cursor: string | null = null, more = true; more; more = cursor !== null) {
    const page: any = await read(app, { ask: "list", query: {}, limit: 100, cursor });
    pages.push(page.runs.map((run: any) => [run.id, run.on_complete.length]));
    cursor = page.cursor;
  }
  expect(pages.length).toBeGreaterThan(1);
  expect(pages.flat()).toEqual(runs.map(({ id, on_complete }) => [id, on_complete.length]).reverse());
  const held: object[] = [];
  const polls = [];
  for (let claimed = 0; claimed < runs.length;) {
    const answer = await claim(app, held);
    polls.push(answer.claims.length);
    claimed += answer.claims.length;
    held.push(...answer.claims.map(({ run }: any) => ({ run: run.id, epoch: run.epoch })));
    expect(answer.claims.length).toBeGreaterThan(0);
    if (claimed < runs.length) expect(answer.next_due_at).toBeLessThanOrEqual(answer.now);
  }
  expect(polls.length).toBeGreaterThan(1);
});

test("an operation of another protocol is refused, and nothing of its sync is written", async () => {
  const app = engine();
  const ops = [{ op: "put_record", kind: "k", key: "a", value: "v" }, { op: "unheard" }];
  await expect(mutate(app, "durable:sync", { token: WORKER, ops })).rejects.toThrow(/Validator/);
  expect(await sync(app, { op: "get_record", kind: "k", key: "a" })).toBe(null);
});

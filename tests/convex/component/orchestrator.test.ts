import { afterEach, beforeEach, expect, test } from "vitest";
import { ask, CALLER, claim, engine, mutate, read, sync, WORKER } from "./engine";

beforeEach(() => {
  process.env.DURABLE_TOKEN = WORKER;
  process.env.DURABLE_CALLER_TOKEN = CALLER;
});

afterEach(() => {
  delete process.env.DURABLE_TOKEN;
  delete process.env.DURABLE_CALLER_TOKEN;
});

const token = CALLER;

test("a run that is started inside a mutation exists if and only if the mutation commits", async () => {
  const app = engine();
  await expect(mutate(app, "orders:place", { order: "7", total: 12.5, fail: true })).rejects.toThrow(/declined/);
  expect(await ask(app, "orders:orders")).toEqual([]);
  expect(await ask(app, "durable:get", { token, run: "order-7" })).toBe(null);
  expect(await mutate(app, "orders:place", { order: "7", total: 12.5 })).toMatchObject({ run: "order-7" });
  expect(await ask(app, "orders:orders")).toMatchObject([{ order: "7" }]);
  expect(await ask(app, "durable:get", { token, run: "order-7" })).toMatchObject({
    id: "order-7",
    workflow: "checkout",
    status: "pending",
    labels: { total: "12.5" },
    values: {},
    waits: [],
  });
});

test("a worker is handed what Python would have written", async () => {
  const app = engine();
  await mutate(app, "orders:place", { order: "7", total: 12.5 });
  const { claims } = await claim(app);
  expect(claims).toHaveLength(1);
  expect(claims[0].input).toBe('[{"order":"7","total":12.5}]');
  expect(claims[0].run).toMatchObject({ id: "order-7", status: "running", version: "1", epoch: 1, priority: 0 });
  expect(claims[0].run.seed).toMatch(/^[0-9a-f]{32}$/);
});

test("starting again with the same input is the same start, with another one a conflict", async () => {
  const app = engine();
  const start = { token, workflow: "checkout", id: "r", input: { b: 1, a: [2] } };
  expect(await mutate(app, "durable:start", start)).toBe("r");
  expect(await mutate(app, "durable:start", { ...start, input: { a: [2], b: 1 } })).toBe("r");
  await expect(mutate(app, "durable:start", { ...start, input: 1 })).rejects.toThrow(/RUN_CONFLICT/);
  await expect(mutate(app, "durable:start", { ...start, workflow: "w" })).rejects.toThrow(/RUN_CONFLICT/);
});

test("runs without an id get random ones", async () => {
  const app = engine();
  const ids = [];
  for (let n = 0; n < 3; n += 1) ids.push(await mutate(app, "durable:start", { token, workflow: "checkout" }));
  expect(new Set(ids).size).toBe(3);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
});

test("bad arguments are refused before anything is written", async () => {
  const app = engine();
  const start = { token, workflow: "checkout" };
  for (const wrong of [
    { id: "" },
    { id: "a\nb" },
    { priority: 0.5 },
    { delaySeconds: -1 },
    { labels: { a: "x\ty" } },
  ]) {
    await expect(mutate(app, "durable:start", { ...start, ...wrong })).rejects.toThrow(/INVALID_INPUT/);
  }
  await expect(mutate(app, "durable:start", { ...start, input: 1n })).rejects.toThrow(/NOT_SERIALIZABLE/);
  expect((await ask(app, "durable:list", { token })).runs).toEqual([]);
});

test("a signal lies in the inbox once, however often it is sent", async () => {
  const app = engine();
  await mutate(app, "durable:start", { token, workflow: "checkout", id: "r" });
  const signal = { token, run: "r", name: "approved", payload: { by: "ann" }, id: "s1" };
  await mutate(app, "durable:signal", signal);
  await mutate(app, "durable:signal", signal);
  await mutate(app, "durable:signal", { token, run: "r", name: "approved" });
  const { messages } = await read(app, { ask: "messages", run: "r", after: 0, limit: 10, unread_only: true });
  expect(messages.map((one: any) => [one.message.id === "s1", one.message.payload])).toEqual([
    [true, '{"by":"ann"}'],
    [false, "null"],
  ]);
  await expect(mutate(app, "durable:signal", { ...signal, run: "x" })).rejects.toThrow(/RUN_NOT_FOUND/);
});

test("cancel ends a run that was never started, and asks one that was", async () => {
  const app = engine();
  await mutate(app, "durable:start", { token, workflow: "checkout", id: "never" });
  await mutate(app, "durable:cancel", { token, run: "never", reason: "no longer wanted" });
  expect(await ask(app, "durable:get", { token, run: "never" })).toMatchObject({
    status: "cancelled",
    error: "no longer wanted",
  });
  await mutate(app, "durable:cancel", { token, run: "never" });
  await expect(mutate(app, "durable:signal", { token, run: "never", name: "n" })).rejects.toThrow(/RUN_ENDED/);
  await mutate(app, "durable:start", { token, workflow: "checkout", id: "begun" });
  await claim(app);
  await mutate(app, "durable:cancel", { token, run: "begun" });
  const { messages } = await read(app, { ask: "messages", run: "begun", after: 0, limit: 10, unread_only: true });
  expect(messages[0].message).toMatchObject({ id: "cancel/1", kind: "cancel", payload: '""' });
  await expect(mutate(app, "durable:cancel", { token, run: "nobody" })).rejects.toThrow(/RUN_NOT_FOUND/);
});

test("get and steps show what a worker commits", async () => {
  const app = engine();
  await mutate(app, "durable:start", { token, workflow: "checkout", id: "r" });
  await claim(app);
  const entry = '{"k":"step","c":"0/step/charge#0","p":"f","ok":1,"n":1}\n{"receipt":7}';
  const waits = [
    { kind: "retry", name: "ship", call: "0/step/ship#0", since: 5, until: 9, attempt: 2, error: "OSError" },
  ];
  const first = { run: "r", epoch: 1, seq: 0, position: 0, append: [entry], waits, values: [["progress", "0.5"]] };
  await sync(app, { op: "commit", commits: [first] });
  expect(await ask(app, "durable:get", { token, run: "r" })).toMatchObject({
    status: "running",
    values: { progress: 0.5 },
    waits: [{ kind: "retry", name: "ship", since: 5, until: 9, attempt: 2, error: "OSError" }],
  });
  expect(await ask(app, "durable:steps", { token, run: "r" })).toMatchObject({
    steps: [{ position: 0, event: "step_completed", name: "charge", attempt: 1, value: { receipt: 7 } }],
    next: null,
  });
  const then = { is: "Ended", status: "completed", outcome: 'completed\n{"receipt":7}' };
  await sync(app, { op: "commit", commits: [{ run: "r", epoch: 1, seq: 1, position: 1, then, waits: [] }] });
  const ended = await ask(app, "durable:get", { token, run: "r" });
  expect(ended).toMatchObject({ status: "completed", result: { receipt: 7 }, waits: [] });
  expect(ended.endedAt).toBeGreaterThan(0);
});

test("lists show the newest first, by page and by condition", async () => {
  const app = engine();
  for (let n = 0; n < 5; n += 1) {
    const labels = { odd: `${n % 2}` };
    await mutate(app, "durable:start", { token, workflow: "checkout", id: `r${n}`, labels });
  }
  const ids = async (options: object) => {
    const page = await ask(app, "durable:list", { token, ...options });
    return page.runs.map((run: any) => run.id);
  };
  expect(await ids({})).toEqual(["r4", "r3", "r2", "r1", "r0"]);
  expect(await ids({ labels: { odd: "1" } })).toEqual(["r3", "r1"]);
  expect(await ids({ workflow: "other" })).toEqual([]);
  expect(await ids({ status: "pending", limit: 2 })).toEqual(["r4", "r3"]);
  const first = await ask(app, "durable:list", { token, limit: 3 });
  expect(await ids({ cursor: first.cursor })).toEqual(["r1", "r0"]);
  await expect(ask(app, "durable:list", { token, limit: 0 })).rejects.toThrow(/INVALID_INPUT/);
  await expect(ask(app, "durable:list", { token, cursor: "x" })).rejects.toThrow(/INVALID_INPUT/);
});

import { afterEach, beforeEach, expect, test } from "vitest";
import { asked } from "./app/guarded";
import { ask, CALLER, engine, mutate, WORKER, type Engine } from "./engine";

const NAMES = ["DURABLE_TOKEN", "DURABLE_TOKEN_NEXT", "DURABLE_CALLER_TOKEN", "DURABLE_CALLER_TOKEN_NEXT"];

beforeEach(() => {
  process.env.DURABLE_TOKEN = WORKER;
  process.env.DURABLE_CALLER_TOKEN = CALLER;
});

afterEach(() => {
  for (const name of NAMES) delete process.env[name];
});

test("workers need their token for each of their functions", async () => {
  const app = engine();
  for (const token of [undefined, "", "wrong", WORKER + " ", CALLER]) {
    await expect(ask(app, "durable:info", { token })).rejects.toThrow(/UNAUTHORIZED/);
    await expect(ask(app, "durable:read", { token, asks: [] })).rejects.toThrow(/UNAUTHORIZED/);
    await expect(ask(app, "durable:watch", { token })).rejects.toThrow(/UNAUTHORIZED/);
    await expect(mutate(app, "durable:sync", { token, ops: [] })).rejects.toThrow(/UNAUTHORIZED/);
  }
  expect(await ask(app, "durable:info", { token: WORKER })).toEqual({ protocol: 1, shards: 1 });
});

test("callers need theirs, and a worker's is not one", async () => {
  const app = engine();
  const calls: [(app: Engine, path: string, args: object) => Promise<unknown>, string, object][] = [
    [mutate, "durable:start", { workflow: "w" }],
    [mutate, "durable:signal", { run: "r", name: "n" }],
    [mutate, "durable:cancel", { run: "r" }],
    [ask, "durable:get", { run: "r" }],
    [ask, "durable:list", {}],
    [ask, "durable:steps", { run: "r" }],
  ];
  for (const [call, path, args] of calls) {
    for (const token of [undefined, WORKER]) {
      await expect(call(app, path, { ...args, token })).rejects.toThrow(/UNAUTHORIZED/);
    }
  }
  expect(await ask(app, "durable:list", { token: CALLER })).toEqual({ runs: [], cursor: null });
});

test("a refusal is data that reaches the caller in production too", async () => {
  const refusal = { data: { code: "UNAUTHORIZED", message: "The token is wrong." } };
  await expect(ask(engine(), "durable:info", { token: "wrong" })).rejects.toMatchObject(refusal);
});

test("with no token configured nobody is let in, not even with an empty one", async () => {
  const app = engine();
  process.env.DURABLE_TOKEN = "";
  for (const token of [undefined, "", "undefined"]) {
    await expect(ask(app, "durable:info", { token })).rejects.toThrow(/No token is configured/);
  }
});

test("while tokens are rotated both are taken, and afterwards the new one alone", async () => {
  const app = engine();
  process.env.DURABLE_TOKEN_NEXT = "the next one";
  for (const token of [WORKER, "the next one"]) expect(await ask(app, "durable:info", { token })).toBeTruthy();
  process.env.DURABLE_TOKEN = "the next one";
  delete process.env.DURABLE_TOKEN_NEXT;
  await expect(ask(app, "durable:info", { token: WORKER })).rejects.toThrow(/UNAUTHORIZED/);
});

test("with identities, a worker is who its issuer says", async () => {
  const app = engine();
  const call = { ops: [{ op: "now" }], token: WORKER };
  await expect(mutate(app, "guarded:sync", call)).rejects.toThrow(/An identity is missing/);
  for (const identity of [
    { subject: "user:7", issuer: "https://issuer.test" },
    { subject: "worker:7", issuer: "https://other.test" },
  ]) {
    await expect(mutate(app.withIdentity(identity), "guarded:sync", call)).rejects.toThrow(/UNAUTHORIZED/);
  }
  const worker = app.withIdentity({ subject: "worker:7", issuer: "https://issuer.test" });
  expect((await mutate(worker, "guarded:sync", call)).results).toEqual([null]);
});

test("an app's own check is told what is called with what, and no is no", async () => {
  const app = engine();
  const ann = app.withIdentity({ subject: "ann" });
  expect(await ask(ann, "guarded:get", { run: "order-of-ann" })).toBe(null);
  expect(asked.at(-1)).toMatchObject({ function: "get", run: "order-of-ann" });
  await expect(ask(ann, "guarded:get", { run: "order-of-bob" })).rejects.toThrow(/UNAUTHORIZED/);
  await expect(mutate(ann, "guarded:start", { workflow: "w" })).rejects.toThrow(/UNAUTHORIZED/);
  await expect(ask(app, "guarded:get", { run: "order-of-ann" })).rejects.toThrow(/UNAUTHORIZED/);
});

test("an argument named function does not change what the check is told", async () => {
  const app = engine();
  await expect(ask(app, "guarded:get", { run: "order-of-ann", function: "list" })).rejects.toThrow();
});

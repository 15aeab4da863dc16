/** The component in `convex-test`: an app that has it installed, on a fresh database. */
import { convexTest } from "convex-test";
import { defineSchema, defineTable, makeFunctionReference } from "convex/server";
import { v } from "convex/values";
import schema from "@component/schema";
import { components } from "./app/components";

type Modules = Record<string, () => Promise<unknown>>;

/** convex-test finds a root by a path with `_generated` in it; nothing of that is ever loaded. */
const GENERATED: Modules = { "/app/_generated/api.js": () => Promise.resolve({}) };

const APP: Modules = {
  ...GENERATED,
  "/app/durable.ts": () => import("./app/durable"),
  "/app/guarded.ts": () => import("./app/guarded"),
  "/app/orders.ts": () => import("./app/orders"),
};

const COMPONENT: Modules = {
  ...GENERATED,
  "/app/store.ts": () => import("@component/store"),
  "/app/purging.ts": () => import("@component/purging"),
  "/app/peek.ts": () => import("./app/peek"),
};

const APP_SCHEMA = defineSchema({ orders: defineTable({ order: v.string(), total: v.number() }) });

export function engine() {
  const test = convexTest(APP_SCHEMA, APP);
  test.registerComponent("durable", schema, COMPONENT);
  return test;
}

export type Engine = ReturnType<typeof engine>;

export const WORKER = "the workers' token";
export const CALLER = "the callers' token";

/* eslint-disable @typescript-eslint/no-explicit-any */

/** Call one of the app's functions, as a client would. */
export async function mutate(test: Pick<Engine, "mutation">, path: string, args: object = {}): Promise<any> {
  return await test.mutation(makeFunctionReference<"mutation">(path), args as never);
}

export async function ask(test: Pick<Engine, "query">, path: string, args: object = {}): Promise<any> {
  return await test.query(makeFunctionReference<"query">(path), args as never);
}

/** Say one operation, as a worker would; its result. */
export async function sync(test: Engine, op: object): Promise<any> {
  return (await mutate(test, "durable:sync", { token: WORKER, ops: [op] })).results[0];
}

export async function read(test: Engine, asked: object): Promise<any> {
  return (await ask(test, "durable:read", { token: WORKER, asks: [asked] })).results[0];
}

export const SESSION = {
  id: "s1",
  name: "host:1",
  lease_seconds: 15,
  registered: [["checkout", "1"]],
  queues: ["default"],
};
const LANES = [
  { queue: "default", workflow: "checkout", version: "1" },
  { queue: "default", workflow: "checkout", pin: "1" },
];
let polls = 0;

/** Claim what is due. */
export async function claim(test: Engine, held: object[] = []): Promise<any> {
  polls += 1;
  const want = { poll_id: `poll ${polls}`, lanes: LANES, limit: 10, held, crash_budget: 10, lonely_after: 3 };
  return await sync(test, { op: "poll", session: SESSION, want });
}

/** Every document of one of the component's tables. */
export async function table(test: Engine, name: string): Promise<any[]> {
  return await test.query(async (ctx) => await ctx.runQuery(components.durable.peek.table, { name }));
}

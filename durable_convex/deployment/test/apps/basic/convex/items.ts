import {
  anyApi,
  actionGeneric,
  componentsGeneric,
  internalMutationGeneric,
  mutationGeneric,
  paginationOptsValidator,
  queryGeneric,
} from "convex/server";
import { ConvexError, v } from "convex/values";

const { box, second } = componentsGeneric() as Record<string, { lib: Record<string, never> }>;

export const add = mutationGeneric({
  args: { name: v.string(), rank: v.number() },
  returns: v.id("items"),
  handler: async (ctx, item) => ctx.db.insert("items", item),
});
export const list = queryGeneric({
  args: {},
  handler: async (ctx) => (await ctx.db.query("items").withIndex("by_rank").collect()).map(({ name }) => name),
});
export const byName = queryGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) =>
    ctx.db
      .query("items")
      .withIndex("by_name", (q) => q.eq("name", name))
      .collect(),
});
export const between = queryGeneric({
  args: { low: v.any(), high: v.any(), order: v.union(v.literal("asc"), v.literal("desc")) },
  handler: async (ctx, { low, high, order }) => {
    const found = await ctx.db
      .query("items")
      .withIndex("by_rank", (q) => q.gte("rank", low).lt("rank", high))
      .order(order)
      .collect();
    return found.map(({ name }) => name);
  },
});
export const filtered = queryGeneric({
  args: { min: v.number() },
  handler: async (ctx, { min }) =>
    (
      await ctx.db
        .query("items")
        .filter((q) => q.and(q.gte(q.field("rank"), min), q.neq(q.field("name"), "b")))
        .take(2)
    ).map(({ name }) => name),
});
export const get = queryGeneric({ args: { id: v.string() }, handler: async (ctx, { id }) => ctx.db.get(id as never) });
export const normalize = queryGeneric({
  args: { table: v.string(), id: v.string() },
  handler: async (ctx, { table, id }) => ctx.db.normalizeId(table, id),
});
export const page = queryGeneric({
  args: { opts: paginationOptsValidator },
  handler: async (ctx, { opts }) => ctx.db.query("items").withIndex("by_rank").paginate(opts),
});
export const twoPages = queryGeneric({
  args: {},
  handler: async (ctx) => {
    await ctx.db.query("items").paginate({ numItems: 1, cursor: null });
    return ctx.db.query("items").paginate({ numItems: 1, cursor: null });
  },
});
export const change = mutationGeneric({
  args: {
    id: v.id("items"),
    patch: v.any(),
    how: v.union(v.literal("patch"), v.literal("replace"), v.literal("delete")),
    unset: v.optional(v.string()),
  },
  handler: async (ctx, { id, patch, how, unset }) => {
    if (how === "delete") return void (await ctx.db.delete(id));
    await ctx.db[how](id, unset === undefined ? patch : { ...patch, [unset]: undefined });
    return ctx.db.get(id);
  },
});
export const bump = mutationGeneric({
  args: { name: v.string() },
  returns: v.number(),
  handler: async (ctx, { name }) => {
    const counter = await ctx.db
      .query("counters")
      .withIndex("by_name", (q) => q.eq("name", name))
      .unique();
    if (counter === null) return void (await ctx.db.insert("counters", { name, value: 1 })) ?? 1;
    await ctx.db.patch(counter._id, { value: counter.value + 1 });
    return counter.value + 1;
  },
});
export const counter = queryGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) =>
    (
      await ctx.db
        .query("counters")
        .withIndex("by_name", (q) => q.eq("name", name))
        .unique()
    )?.value ?? 0,
});
export const echo = queryGeneric({ args: { value: v.any() }, handler: async (_, { value }) => value });
export const keep = mutationGeneric({
  args: { key: v.any(), value: v.any() },
  handler: async (ctx, fields) => ctx.db.insert("loose", fields),
});
export const kept = queryGeneric({
  args: {},
  handler: async (ctx) => (await ctx.db.query("loose").withIndex("by_key").collect()).map(({ value }) => value),
});
export const fail = mutationGeneric({
  args: { how: v.string() },
  handler: async (ctx, { how }) => {
    await ctx.db.insert("items", { name: "lost", rank: 0 });
    if (how === "convex") throw new ConvexError({ code: "NO", count: 5n });
    if (how === "fetch") await fetch("http://127.0.0.1:1");
    if (how === "timer") setTimeout(() => undefined, 1);
    throw new Error("a secret of the server");
  },
});
export const clock = mutationGeneric({
  args: {},
  handler: async (ctx) => {
    const before = Date.now();
    for (let at = 0; at < 2000; at++) await ctx.db.insert("loose", { key: "clock", value: Math.random() });
    return { same: before === Date.now() && new Date().getTime() === before, isDate: new Date() instanceof Date };
  },
});
export const many = mutationGeneric({
  args: { count: v.number() },
  handler: async (ctx, { count }) => {
    for (let at = 0; at < count; at++) await ctx.db.insert("loose", { key: "many", value: at });
  },
});
export const reads = queryGeneric({
  args: { count: v.number() },
  handler: async (ctx, { count }) => {
    for (let at = 0; at < count; at++)
      await ctx.db
        .query("loose")
        .withIndex("by_key", (q) => q.eq("key", `none ${at}`))
        .first();
  },
});
export const metrics = mutationGeneric({
  args: {},
  handler: async (ctx) => {
    await ctx.db.insert("items", { name: "m", rank: 1 });
    return (ctx as never as { meta: { getTransactionMetrics(): unknown } }).meta.getTransactionMetrics();
  },
});
export const inBox = mutationGeneric({
  args: { value: v.any(), fail: v.boolean() },
  handler: async (ctx, { value, fail }) => {
    await ctx.db.insert("items", { name: "outside", rank: 1 });
    try {
      return await ctx.runMutation(box!.lib["put"] as never, { value, fail });
    } catch (error) {
      return `caught ${(error as Error).message.includes("the box is full")}`;
    }
  },
});
export const boxed = queryGeneric({
  args: {},
  handler: async (ctx) => [
    await ctx.runQuery(box!.lib["all"] as never, {}),
    await ctx.runQuery(second!.lib["all"] as never, {}),
  ],
});
export const boxPage = queryGeneric({ args: {}, handler: async (ctx) => ctx.runQuery(box!.lib["page"] as never, {}) });
export const boxHidden = queryGeneric({
  args: {},
  handler: async (ctx) => ctx.runQuery(box!.lib["hidden"] as never, {}),
});
export const around = queryGeneric({
  args: {},
  handler: async (ctx) => ({
    inside: await ctx.runQuery(box!.lib["surroundings"] as never, {}),
    outside: { identity: await ctx.auth.getUserIdentity(), secret: process.env.SECRET ?? null },
  }),
});
export const both = mutationGeneric({
  args: {},
  handler: async (ctx) =>
    Promise.all(
      ["x", "x", "x"].map((name) =>
        ctx.runMutation((anyApi as never as { items: { bump: never } }).items.bump, { name }),
      ),
    ),
});
export const stamp = mutationGeneric({
  args: {},
  handler: async (ctx) =>
    ctx.db.insert("stamped", { at: (ctx.db as never as { vars: { commitTs: never } }).vars.commitTs }),
});
export const stamps = queryGeneric({
  args: {},
  handler: async (ctx) => (await ctx.db.query("stamped").withIndex("by_at").collect()).map(({ at }) => at),
});
export const hidden = internalMutationGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.db.insert("items", { name, rank: 9 });
  },
});
export const wrongReturn = queryGeneric({ args: {}, returns: v.string(), handler: async () => 5 as never });
export const digest = queryGeneric({
  args: { text: v.string() },
  handler: async (_, { text }) => {
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  },
});
export const act = actionGeneric({
  args: { url: v.string() },
  handler: async (ctx, { url }) => {
    await ctx.runMutation((anyApi as never as { items: { hidden: never } }).items.hidden, { name: "from an action" });
    return {
      version: await (await fetch(`${url}/version`)).text(),
      names: await ctx.runQuery((anyApi as never as { items: { list: never } }).items.list, {}),
    };
  },
});
export const replaceGlobals = mutationGeneric({
  args: {},
  handler: async () => {
    (globalThis as { Date: unknown }).Date = { now: () => 1 };
    Math.random = () => 0.5;
    return Date.now();
  },
});
export const globals = mutationGeneric({ args: {}, handler: async () => [Date.now() > 1, Math.random() !== 0.5] });
/** Inserts an item unless there is one of this name; says whether it did. */
export const ensure = mutationGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const known = await ctx.db
      .query("items")
      .withIndex("by_name", (q) => q.eq("name", name))
      .first();
    if (known !== null) return false;
    await ctx.db.insert("items", { name, rank: 0 });
    return true;
  },
});
/** Calls a mutation that may write one document, and says what became of it. */
export const limited = mutationGeneric({
  args: { count: v.number() },
  handler: async (ctx, { count }) => {
    const many = (anyApi as any).items.many;
    try {
      await (ctx as any).runMutation(many, { count }, { transactionLimits: { documentsWritten: 1 } });
    } catch (error) {
      return (error as Error).message;
    }
    return "within";
  },
});
/** Reads a counter after bumping it, with and without this mutation's own write. */
export const stale = mutationGeneric({
  args: {},
  handler: async (ctx) => {
    const { bump, counter } = (anyApi as any).items;
    await ctx.runMutation(bump, { name: "s" });
    const fresh = await ctx.runQuery(counter, { name: "s" });
    return [fresh, await (ctx as any).runQuery(counter, { name: "s" }, { useStaleSnapshot: true })];
  },
});

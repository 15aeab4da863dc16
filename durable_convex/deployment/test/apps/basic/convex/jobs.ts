import {
  actionGeneric,
  anyApi,
  internalActionGeneric,
  internalMutationGeneric,
  mutationGeneric,
  queryGeneric,
} from "convex/server";
import { v } from "convex/values";

const own = (anyApi as never as { jobs: Record<string, never> }).jobs;

export const later = mutationGeneric({
  args: { ms: v.number(), name: v.string(), how: v.string(), fail: v.optional(v.boolean()) },
  handler: async (ctx, { ms, name, how, fail }) => {
    const id = await ctx.scheduler.runAfter(ms, own[how] as never, { name } as never);
    if (fail) throw new Error("then it is not scheduled either");
    return id;
  },
});
export const note = internalMutationGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) => void (await ctx.db.insert("items", { name, rank: 0 })),
});
export const broken = internalMutationGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.db.insert("items", { name, rank: 0 });
    throw new Error("broken");
  },
});
export const act = internalActionGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) => void (await ctx.runMutation(own["note"] as never, { name } as never)),
});
export const fromAction = actionGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) => ctx.scheduler.runAfter(0, own["note"] as never, { name } as never),
});
export const cancel = mutationGeneric({
  args: { id: v.string() },
  handler: async (ctx, { id }) => ctx.scheduler.cancel(id as never),
});
export const state = queryGeneric({
  args: { id: v.string() },
  handler: async (ctx, { id }) => ((await ctx.db.system.get(id as never)) as { state: unknown } | null)?.state ?? null,
});
export const pending = queryGeneric({
  args: {},
  handler: async (ctx) =>
    (await ctx.db.system.query("_scheduled_functions").collect()).map(({ name, args, scheduledTime }) => ({
      name,
      args,
      scheduledTime,
    })),
});

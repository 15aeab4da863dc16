import { internalMutationGeneric, queryGeneric } from "convex/server";
import { v } from "convex/values";

export const tick = internalMutationGeneric({
  args: { by: v.number() },
  handler: async (ctx, { by }) => void (await ctx.db.insert("ticks", { by })),
});
export const all = queryGeneric({
  args: {},
  handler: async (ctx) => (await ctx.db.query("ticks").collect()).map(({ by }) => by),
});

/** For tests, inside the component: what its tables hold. */
import { queryGeneric } from "convex/server";
import { v } from "convex/values";

export const table = queryGeneric({
  args: { name: v.string() },
  handler: async (ctx, { name }) => await ctx.db.query(name).collect(),
});

import { internalQueryGeneric, mutationGeneric, queryGeneric } from "convex/server";
import { v } from "convex/values";

export const put = mutationGeneric({
  args: { value: v.any(), fail: v.optional(v.boolean()) },
  returns: v.string(),
  handler: async (ctx, { value, fail }) => {
    const id = await ctx.db.insert("things", { value });
    if (fail) throw new Error("the box is full");
    return id;
  },
});

export const all = queryGeneric({
  args: {},
  handler: async (ctx) => (await ctx.db.query("things").collect()).map(({ value }) => value),
});

export const page = queryGeneric({
  args: {},
  handler: async (ctx) => ctx.db.query("things").paginate({ numItems: 1, cursor: null }),
});

export const surroundings = queryGeneric({
  args: {},
  handler: async (ctx) => ({
    identity: await ctx.auth.getUserIdentity(),
    given: process.env.GIVEN ?? null,
    fixed: process.env.FIXED ?? null,
    secret: process.env.SECRET ?? null,
  }),
});

export const hidden = internalQueryGeneric({ args: {}, handler: async () => "hidden" });

/** An app's own functions: they start runs inside their own transactions. */
import { mutationGeneric, queryGeneric } from "convex/server";
import { v } from "convex/values";
import { Orchestrator } from "@component/orchestrator";
import { components } from "./components";

const runs = new Orchestrator(components.durable);

export const place = mutationGeneric({
  args: { order: v.string(), total: v.number(), fail: v.optional(v.boolean()) },
  handler: async (ctx, { order, total, fail }) => {
    const id = await ctx.db.insert("orders", { order, total });
    const run = await runs.start(
      ctx,
      "checkout",
      { order, total },
      { id: `order-${order}`, labels: { total: `${total}` } },
    );
    if (fail) throw new Error("the card was declined");
    return { id, run };
  },
});

export const orders = queryGeneric({
  args: {},
  handler: async (ctx) => await ctx.db.query("orders").collect(),
});

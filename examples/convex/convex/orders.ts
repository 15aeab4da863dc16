// The shop: ordinary functions of an ordinary app. They start runs, speak to them and look at them.
import {
  componentsGeneric,
  mutationGeneric,
  queryGeneric,
  type DataModelFromSchemaDefinition,
  type MutationBuilder,
  type QueryBuilder,
} from "convex/server";
import { v } from "convex/values";
import { Orchestrator, type DurableComponent } from "./components/durable/expose";
import type schema from "./schema";

// With `npx convex dev` these three come from "./_generated/server" and "./_generated/api"; so nothing is generated.
type Model = DataModelFromSchemaDefinition<typeof schema>;
const mutation = mutationGeneric as MutationBuilder<Model, "public">;
const query = queryGeneric as QueryBuilder<Model, "public">;

const runs = new Orchestrator((componentsGeneric() as unknown as { durable: DurableComponent }).durable);

/** The order and its run are written in one transaction: there is never one without the other. */
export const place = mutation({
  args: { item: v.string(), total: v.number() },
  handler: async (ctx, { item, total }): Promise<string> => {
    if (!(total > 0)) throw new Error("An order costs something.");
    const id = await ctx.db.insert("orders", { item, total, run: "" });
    const run = `order-${id}`;
    await runs.start(ctx, "checkout", { order: id, item, total }, { id: run, labels: { item } });
    await ctx.db.patch(id, { run });
    return run;
  },
});

/** A person's decision is a signal; the run may be waiting for it on no machine at all. */
export const decide = mutation({
  args: { run: v.string(), approved: v.boolean() },
  handler: async (ctx, { run, approved }): Promise<null> => {
    await runs.signal(ctx, run, "approved", approved, "decision");
    return null;
  },
});

export const cancel = mutation({
  args: { run: v.string() },
  handler: async (ctx, { run }): Promise<null> => {
    await runs.cancel(ctx, run, "the customer changed their mind");
    return null;
  },
});

/** The last orders with the status of their runs; Convex sends it anew whenever it changes. */
export const recent = query({
  args: {},
  handler: async (ctx) => {
    const orders = await ctx.db.query("orders").order("desc").take(10);
    const { runs: found } = await runs.list(ctx, { workflow: "checkout", limit: 100 });
    const status = new Map(found.map((run) => [run.id, run.status]));
    return orders.map(({ item, total, run }) => ({ item, total, run, status: status.get(run) ?? null }));
  },
});

/** One run live: how it stands, what it waits for, and what each of its steps gave. */
export const follow = query({
  args: { run: v.string() },
  handler: async (ctx, { run }) => {
    const [details, journal] = await Promise.all([runs.get(ctx, run), runs.steps(ctx, run)]);
    return { details, steps: journal.steps };
  },
});

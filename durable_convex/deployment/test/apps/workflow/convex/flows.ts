import { WorkflowManager } from "@convex-dev/workflow";
import {
  actionGeneric,
  anyApi,
  componentsGeneric,
  mutationGeneric,
  queryGeneric,
  internalMutationGeneric,
} from "convex/server";
import { v } from "convex/values";

const components = componentsGeneric();
const manager = new WorkflowManager(components["workflow"] as never);
const own = anyApi["flows"] as unknown as Record<string, never>;

/** Five mutations one after the other, each of which adds a line to the ledger. */
export const five = manager
  .define({ args: { name: v.string() }, returns: v.array(v.number()) })
  .handler(async (step, { name }): Promise<number[]> => {
    const results: number[] = [];
    for (let at = 0; at < 5; at++)
      results.push(await step.runMutation(own["note"] as never, { line: `${name} ${at}` } as never));
    return results;
  });

/** An action, a timer and an event. */
export const waits = manager.define({ args: {}, returns: v.any() }).handler(async (step): Promise<unknown> => {
  const doubled = await step.runAction(own["double"] as never, { n: 21 } as never);
  await step.sleep(50);
  const event = await step.awaitEvent({ name: "go" });
  return { doubled, event };
});

export const note = internalMutationGeneric({
  args: { line: v.string() },
  returns: v.number(),
  handler: async (ctx, { line }) => {
    await ctx.db.insert("ledger", { line });
    return (await ctx.db.query("ledger").collect()).length;
  },
});

export const double = actionGeneric({ args: { n: v.number() }, handler: async (_, { n }) => n * 2 });

export const start = mutationGeneric({
  args: { flow: v.string(), args: v.any() },
  handler: async (ctx, { flow, args }): Promise<string> =>
    manager.start(ctx as never, own[flow] as never, args as never),
});

export const status = queryGeneric({
  args: { id: v.string() },
  handler: async (ctx, { id }): Promise<unknown> => manager.status(ctx as never, id as never),
});

export const send = mutationGeneric({
  args: { id: v.string(), name: v.string(), value: v.any() },
  handler: async (ctx, { id, name, value }): Promise<void> => {
    await manager.sendEvent(ctx as never, { workflowId: id as never, name, value });
  },
});

export const ledger = queryGeneric({
  args: {},
  handler: async (ctx) => (await ctx.db.query("ledger").collect()).map(({ line }) => line),
});

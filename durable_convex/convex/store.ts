/** The functions of this component: everything that `durable.store.Store` asks for, in two calls and a subscription. */
import { v } from "convex/values";
import { commitAll } from "./commits";
import { control } from "./controls";
import { mutation, query } from "./functions";
import { unknown } from "./listing";
import { send } from "./messages";
import { poll } from "./polls";
import { purge } from "./purging";
import { answer, watch as watched } from "./reads";
import * as records from "./records";
import { Tx } from "./rows";
import { create } from "./runs";
import { leave, renew } from "./sessions";
import * as wire from "./values";
import type { Op } from "./values";

type Scheduler = Parameters<typeof purge>[1];

/** Run one item after the other, then write what has changed. */
async function each<T, R>(tx: Tx, items: readonly T[], ids: (item: T) => string, act: (item: T) => Promise<R>) {
  await tx.preload(items.map(ids));
  const answers: R[] = [];
  for (const item of items) answers.push(await act(item));
  await tx.flush();
  return answers;
}

async function operate(tx: Tx, scheduler: Scheduler, asked: Op): Promise<unknown> {
  switch (asked.op) {
    case "create":
      return await each(
        tx,
        asked.runs,
        (run) => run.id,
        (run) => create(tx, run),
      );
    case "poll":
      return await poll(tx, asked.session, asked.want, asked.sent);
    case "renew":
      return await renew(tx, asked.session);
    case "leave":
      return await leave(tx, asked.session);
    case "commit":
      return await commitAll(tx, asked.commits);
    case "send":
      return await each(
        tx,
        asked.messages,
        (message) => message.run,
        (message) => send(tx, message, true),
      );
    case "control":
      return await each(
        tx,
        asked.controls,
        (one) => one.run,
        (one) => control(tx, one),
      );
    case "purge":
      return await purge(tx, scheduler, asked.query);
    case "put_record":
      return await records.put(tx, asked);
    case "get_record":
      return await records.get(tx, asked.kind, asked.key);
    case "list_records":
      return await records.listAfter(tx, asked.kind, asked.after, asked.limit);
    case "delete_record":
      return await records.remove(tx, asked.kind, asked.key);
    case "now":
      return null;
    default:
      return unknown(asked);
  }
}

/** Everything that changes something: one transaction, one result per operation. */
export const sync = mutation({
  args: { ops: v.array(wire.op) },
  returns: v.object({ now: v.number(), results: v.array(v.any()) }),
  handler: async (ctx, { ops }) => {
    const tx = new Tx(ctx.db, Date.now() / 1000);
    const results: unknown[] = [];
    for (const asked of ops) results.push(await operate(tx, ctx.scheduler, asked));
    return { now: tx.now, results };
  },
});

/** Everything that only looks: all of one moment, one result per question. */
export const read = query({
  args: { asks: v.array(wire.ask) },
  returns: v.object({ results: v.array(v.any()) }),
  handler: async (ctx, { asks }) => ({ results: await Promise.all(asks.map((asked) => answer(ctx.db, asked))) }),
});

/** Another text whenever there may be something to do. */
export const watch = query({
  args: { session: v.optional(v.union(v.string(), v.null())) },
  returns: v.string(),
  handler: async (ctx, { session }) => await watched(ctx.db, session),
});

/** Which protocol this component speaks. */
export const info = query({
  args: {},
  returns: v.object({ protocol: v.number(), shards: v.number() }),
  handler: () => Promise.resolve({ protocol: wire.PROTOCOL, shards: wire.SHARDS }),
});

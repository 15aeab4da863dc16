/**
 * What your app exports, so that workers and callers outside Convex can reach the component:
 *
 *     // convex/durable.ts
 *     import { components } from "./_generated/api";
 *     import { expose } from "./components/durable/expose";
 *     export const { info, sync, read, watch, start, signal, cancel, get, list, steps } = expose(components.durable);
 */
import { mutationGeneric, queryGeneric, type GenericMutationCtx, type GenericQueryCtx } from "convex/server";
import { v, type PropertyValidators } from "convex/values";
import { admit, tokenAuth, type Authorize } from "./auth";
import { Orchestrator, type DurableComponent, type ListOptions } from "./orchestrator";

export { identityAuth, tokenAuth, type Authorize, type Call } from "./auth";
export {
  Orchestrator,
  type DurableComponent,
  type ListOptions,
  type RunDetails,
  type RunInfo,
  type StartOptions,
  type Status,
} from "./orchestrator";
export type { StepEntry } from "./decoding";
export type { Json } from "./json";

export interface ExposeOptions {
  /** Who may call `info`, `sync`, `read` and `watch`: your workers. Default: `tokenAuth("DURABLE_TOKEN")`. */
  worker?: Authorize;
  /**
   * Who may call `start`, `signal`, `cancel`, `get`, `list` and `steps`. Default: `tokenAuth("DURABLE_CALLER_TOKEN")`.
   * For apps that call from browsers, a check of your own: it is told which function is called with what.
   */
  authorize?: Authorize;
}

const token = v.optional(v.string());
const texts = v.record(v.string(), v.string());
type Mutation = GenericMutationCtx<any>;
type Query = GenericQueryCtx<any>;

/** Build a mutation or a query that checks its caller before anything else. */
function guarded(authorize: Authorize) {
  return {
    mutation: <R>(name: string, args: PropertyValidators, handler: (ctx: Mutation, args: any) => Promise<R>) =>
      mutationGeneric({
        args: { ...args, token },
        handler: async (ctx, given): Promise<R> => {
          await admit(authorize, ctx, { ...given, function: name });
          return await handler(ctx, given);
        },
      }),
    query: <R>(name: string, args: PropertyValidators, handler: (ctx: Query, args: any) => Promise<R>) =>
      queryGeneric({
        args: { ...args, token },
        handler: async (ctx, given): Promise<R> => {
          await admit(authorize, ctx, { ...given, function: name });
          return await handler(ctx, given);
        },
      }),
  };
}

/** For workers: the component's own four functions behind a check. Their arguments are validated by the component. */
function workers(component: DurableComponent, authorize: Authorize) {
  const { mutation, query } = guarded(authorize);
  const { store } = component;
  return {
    info: query("info", {}, async (ctx) => await ctx.runQuery(store.info, {})),
    sync: mutation(
      "sync",
      { ops: v.array(v.any()) },
      async (ctx, { ops }) => await ctx.runMutation(store.sync, { ops }),
    ),
    read: query("read", { asks: v.array(v.any()) }, async (ctx, { asks }) => await ctx.runQuery(store.read, { asks })),
    watch: query(
      "watch",
      { session: v.optional(v.union(v.string(), v.null())) },
      async (ctx, { session }) => await ctx.runQuery(store.watch, { session: session ?? null }),
    ),
  };
}

/** For callers: what `Orchestrator` does, as functions. */
function callers(runs: Orchestrator, authorize: Authorize) {
  const { mutation, query } = guarded(authorize);
  const run = v.string();
  return {
    start: mutation(
      "start",
      {
        workflow: v.string(),
        input: v.optional(v.any()),
        id: v.optional(v.string()),
        queue: v.optional(v.string()),
        labels: v.optional(texts),
        delaySeconds: v.optional(v.number()),
        priority: v.optional(v.number()),
      },
      async (ctx, { workflow, input, token: _token, ...options }) => await runs.start(ctx, workflow, input, options),
    ),
    signal: mutation(
      "signal",
      { run, name: v.string(), payload: v.optional(v.any()), id: v.optional(v.string()) },
      async (ctx, args): Promise<null> => {
        await runs.signal(ctx, args.run, args.name, args.payload, args.id);
        return null;
      },
    ),
    cancel: mutation("cancel", { run, reason: v.optional(v.string()) }, async (ctx, args): Promise<null> => {
      await runs.cancel(ctx, args.run, args.reason);
      return null;
    }),
    get: query("get", { run }, async (ctx, args) => await runs.get(ctx, args.run)),
    list: query(
      "list",
      {
        workflow: v.optional(v.string()),
        status: v.optional(v.union(v.string(), v.array(v.string()))),
        labels: v.optional(texts),
        queue: v.optional(v.string()),
        limit: v.optional(v.number()),
        cursor: v.optional(v.union(v.string(), v.null())),
      },
      async (ctx, { token: _token, ...options }) => await runs.list(ctx, options as ListOptions),
    ),
    steps: query(
      "steps",
      { run, start: v.optional(v.number()), limit: v.optional(v.number()) },
      async (ctx, args) => await runs.steps(ctx, args.run, { start: args.start, limit: args.limit }),
    ),
  };
}

/** The functions to export; who may call them is `options`' to say, and with no token configured it is nobody. */
export function expose(component: DurableComponent, options: ExposeOptions = {}) {
  const worker = options.worker ?? tokenAuth("DURABLE_TOKEN");
  const caller = options.authorize ?? tokenAuth("DURABLE_CALLER_TOKEN");
  return { ...workers(component, worker), ...callers(new Orchestrator(component), caller) };
}

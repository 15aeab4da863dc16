/** What travels between the adapter and this component: one validator per value of the store protocol. */
import { v, type Infer, type Validator } from "convex/values";

export const PROTOCOL = 1;
/** How many ways the claim index is split. One: claims then come in exactly the order that the protocol promises. */
export const SHARDS = 1;
export const PAGE_SIZE_MAX = 1_000;
export const UNREAD_SIGNALS_MAX = 10_000;
/** What one answer may carry; the platform's own limit for a function's reads and its result is 16 MiB. */
export const PAGE_BYTES_MAX = 4 * 1024 * 1024;

/** A field that is None is left out, or null. */
function maybe<T>(of: Validator<T, "required", string>) {
  return v.optional(v.union(of, v.null()));
}

/** Opaque bytes; as a string where they are UTF-8, so that people can read them. */
export const bytes = v.union(v.string(), v.bytes());
export const pairs = v.array(v.array(v.string()));
export const status = v.union(
  v.literal("pending"),
  v.literal("running"),
  v.literal("waiting"),
  v.literal("paused"),
  v.literal("blocked"),
  v.literal("completed"),
  v.literal("failed"),
  v.literal("cancelled"),
);
export const parent = v.object({
  run: v.string(),
  call: v.string(),
  generation: v.number(),
  on_close: v.union(v.literal("cancel"), v.literal("terminate"), v.literal("abandon")),
  notify: v.boolean(),
});
export const newRun = v.object({
  id: v.string(),
  workflow: v.string(),
  version: maybe(v.string()),
  queue: v.string(),
  input: bytes,
  digest: v.string(),
  seed: v.string(),
  priority: v.optional(v.number()),
  delay_seconds: v.optional(v.number()),
  labels: v.optional(pairs),
  parent: maybe(parent),
  on_complete: maybe(bytes),
  replace: maybe(v.string()),
});
export const messageKind = v.union(v.literal("signal"), v.literal("result"), v.literal("cancel"), v.literal("pause"));
export const message = v.object({
  run: v.string(),
  id: v.string(),
  kind: messageKind,
  name: v.string(),
  payload: bytes,
  generation: v.optional(v.number()),
});
export const wait = v.object({
  kind: v.string(),
  name: v.string(),
  call: v.string(),
  since: v.number(),
  until: maybe(v.number()),
  attempt: v.optional(v.number()),
  attempts_max: maybe(v.number()),
  error: maybe(v.string()),
});
export const session = v.object({
  id: v.string(),
  name: v.string(),
  lease_seconds: v.number(),
  registered: v.optional(pairs),
  queues: v.optional(v.array(v.string())),
});
export const lane = v.object({
  queue: v.string(),
  workflow: v.string(),
  version: maybe(v.string()),
  pin: maybe(v.string()),
});
export const want = v.object({
  poll_id: v.string(),
  lanes: v.array(lane),
  limit: v.number(),
  held: v.array(v.object({ run: v.string(), epoch: v.number(), seen: v.optional(v.number()) })),
  crash_budget: v.number(),
  lonely_after: v.number(),
  idle_lease_seconds: v.optional(v.union(v.number(), v.null())),
});
const place = v.array(v.number());
export const then = v.union(
  v.object({ is: v.literal("Running") }),
  v.object({ is: v.literal("Waiting"), wake_at: maybe(v.number()), seen: v.number() }),
  v.object({ is: v.literal("Released") }),
  v.object({ is: v.literal("Paused") }),
  v.object({ is: v.literal("Blocked"), kind: v.string(), reason: v.string(), call: maybe(v.string()) }),
  v.object({
    is: v.literal("Ended"),
    status: v.union(v.literal("completed"), v.literal("failed"), v.literal("cancelled")),
    outcome: bytes,
    error: maybe(v.string()),
    keep_seconds: maybe(v.number()),
    closing: v.optional(v.boolean()),
  }),
  v.object({
    is: v.literal("Continued"),
    workflow: v.string(),
    version: maybe(v.string()),
    input: bytes,
    digest: v.string(),
    seed: v.string(),
    delay_seconds: v.optional(v.number()),
    tries: v.optional(v.number()),
  }),
  v.object({
    is: v.literal("Rewound"),
    source: v.string(),
    generation: v.number(),
    keep: v.array(v.number()),
    flushed: place,
    unread: v.optional(v.array(v.string())),
  }),
  v.object({ is: v.literal("Closed"), keep_seconds: maybe(v.number()) }),
);
export const commit = v.object({
  run: v.string(),
  epoch: v.number(),
  seq: v.number(),
  position: v.number(),
  append: v.optional(v.array(bytes)),
  then: v.optional(then),
  flushed: maybe(place),
  consumed: v.optional(v.array(v.string())),
  dead: v.optional(v.array(v.object({ id: v.string(), reason: v.string() }))),
  messages: v.optional(v.array(message)),
  children: v.optional(v.array(newRun)),
  values: v.optional(v.array(v.array(bytes))),
  emits: v.optional(v.array(v.object({ stream: v.string(), item: bytes }))),
  parts: v.optional(v.array(v.object({ hash: v.string(), data: bytes }))),
  waits: maybe(v.array(wait)),
  not_before: maybe(v.number()),
});
export const verb = v.union(
  v.object({ is: v.literal("Cancel"), reason: v.string(), payload: bytes, outcome: bytes }),
  v.object({ is: v.literal("Terminate"), reason: v.string(), outcome: bytes }),
  v.object({ is: v.literal("Pause") }),
  v.object({ is: v.literal("Resume") }),
  v.object({ is: v.literal("Retry"), order: bytes }),
  v.object({ is: v.literal("Fork"), new: newRun, order: bytes }),
  v.object({ is: v.literal("Settle"), entry: bytes, position: v.number() }),
);
export const control = v.object({ run: v.string(), request_id: v.string(), verb });
export const purgeQuery = v.object({
  ended_before: maybe(v.number()),
  expired: v.optional(v.boolean()),
  runs: v.optional(v.array(v.string())),
  workflow: maybe(v.string()),
  statuses: v.optional(v.array(status)),
  limit: v.optional(v.number()),
});
export const runQuery = v.object({
  workflow: maybe(v.string()),
  statuses: v.optional(v.array(status)),
  labels: v.optional(pairs),
  created_after: maybe(v.number()),
  created_before: maybe(v.number()),
  parent: maybe(v.string()),
  id_prefix: maybe(v.string()),
  queue: maybe(v.string()),
});

/** Which of a client's polls one is: a later one has a higher number, a repeat the same. */
export const sent = v.object({ line: v.string(), number: v.number() });

/** Everything that `sync` does. */
export const op = v.union(
  v.object({ op: v.literal("create"), runs: v.array(newRun) }),
  v.object({ op: v.literal("poll"), session, want, sent: maybe(sent) }),
  v.object({ op: v.literal("renew"), session }),
  v.object({ op: v.literal("leave"), session: v.string() }),
  v.object({ op: v.literal("commit"), commits: v.array(commit) }),
  v.object({ op: v.literal("send"), messages: v.array(message) }),
  v.object({ op: v.literal("control"), controls: v.array(control) }),
  v.object({ op: v.literal("purge"), query: purgeQuery }),
  v.object({
    op: v.literal("put_record"),
    kind: v.string(),
    key: v.string(),
    value: bytes,
    expect: maybe(v.number()),
    keep_seconds: maybe(v.number()),
    request: maybe(v.string()),
  }),
  v.object({ op: v.literal("get_record"), kind: v.string(), key: v.string() }),
  v.object({ op: v.literal("list_records"), kind: v.string(), after: v.string(), limit: v.number() }),
  v.object({ op: v.literal("delete_record"), kind: v.string(), key: v.string() }),
  v.object({ op: v.literal("now") }),
);

const cursor = maybe(v.string());
/** Everything that `read` answers. */
export const ask = v.union(
  v.object({ ask: v.literal("get"), runs: v.array(v.string()) }),
  v.object({ ask: v.literal("input"), run: v.string() }),
  v.object({ ask: v.literal("outcome"), run: v.string() }),
  v.object({ ask: v.literal("list"), query: runQuery, limit: v.number(), cursor }),
  v.object({ ask: v.literal("summaries"), query: runQuery, limit: v.number(), cursor }),
  v.object({ ask: v.literal("count"), query: runQuery, cursor }),
  v.object({
    ask: v.literal("journal"),
    run: v.string(),
    generation: v.number(),
    start: v.number(),
    limit: v.number(),
  }),
  v.object({
    ask: v.literal("messages"),
    run: v.string(),
    after: v.number(),
    limit: v.number(),
    unread_only: v.boolean(),
  }),
  v.object({ ask: v.literal("values"), run: v.string(), cursor }),
  v.object({
    ask: v.literal("stream"),
    run: v.string(),
    name: v.string(),
    start: v.number(),
    limit: v.number(),
  }),
  v.object({ ask: v.literal("parts"), run: v.string(), hashes: v.array(v.string()) }),
  v.object({ ask: v.literal("sessions") }),
  v.object({ ask: v.literal("check"), cursor }),
  v.object({ ask: v.literal("stats"), cursor }),
);

export type Bytes = Infer<typeof bytes>;
export type Status = Infer<typeof status>;
export type Parent = Infer<typeof parent>;
export type NewRun = Infer<typeof newRun>;
export type Message = Infer<typeof message>;
export type Wait = Infer<typeof wait>;
export type WorkerSession = Infer<typeof session>;
export type Lane = Infer<typeof lane>;
export type SentPoll = Infer<typeof sent>;
export type Want = Infer<typeof want>;
export type Then = Infer<typeof then>;
export type Commit = Infer<typeof commit>;
export type Verb = Infer<typeof verb>;
export type Control = Infer<typeof control>;
export type PurgeQuery = Infer<typeof purgeQuery>;
export type RunQuery = Infer<typeof runQuery>;
export type Op = Infer<typeof op>;
export type Ask = Infer<typeof ask>;

export const ENDED: ReadonlySet<Status> = new Set<Status>(["completed", "failed", "cancelled"]);

/** A lane as one text; the separator cannot occur in a name. */
export function laneKey(queue: string, workflow: string, version: string | null | undefined): string {
  return `${queue}\x1f${workflow}\x1f${version ?? ""}`;
}

/** Where ended runs stand whose children are still to be closed. */
export const CLOSING_LANE = laneKey("\x1f", "closing", null);

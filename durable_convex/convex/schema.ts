/**
 * The tables.
 *
 * A run is two documents. `tasks` is small and hot: who owns it, when it is due, how far it is; each commit rewrites
 * it. `runs` is what it is and how it stands; it is written when the status changes, so lists that people look at stay
 * quiet. What belongs to a run is found by its `key`, the id of its `runs` document: a run id may come again after a
 * purge, a key does not.
 */
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { bytes, messageKind, parent, sent, status, wait } from "./values";

/** Bytes in place, or in documents of `payloads` where they are too many for one. */
export const kept = v.union(bytes, v.object({ parts: v.array(v.id("payloads")), size: v.number() }));

const runs = defineTable({
  id: v.string(),
  place: v.string(), // order of lists: time of creation, then id
  workflow: v.string(),
  version: v.optional(v.string()),
  queue: v.string(),
  priority: v.number(),
  status,
  generation: v.number(),
  tries: v.number(),
  seed: v.string(),
  digest: v.string(),
  createdAt: v.number(),
  startedAt: v.optional(v.number()),
  endedAt: v.optional(v.number()),
  labels: v.array(v.array(v.string())),
  parent: v.optional(parent),
  parentRun: v.optional(v.string()),
  input: kept,
  outcome: v.optional(kept),
  onComplete: v.optional(kept),
  rewind: v.optional(kept),
  blocked: v.optional(v.string()),
  blockedKind: v.optional(v.string()),
  blockedCall: v.optional(v.string()),
  error: v.optional(v.string()),
  terminated: v.boolean(),
  closing: v.boolean(),
  keepSeconds: v.optional(v.number()),
  replacedBy: v.optional(v.string()),
  closedAt: v.optional(v.number()), // its end, once nothing is left to close: from then on it may be purged
  expiresAt: v.optional(v.number()), // when it is to be purged by itself
})
  .index("by_run", ["id"])
  .index("by_place", ["place"])
  .index("by_workflow", ["workflow", "place"])
  .index("by_status", ["status", "place"])
  .index("by_workflow_status", ["workflow", "status", "place"])
  .index("by_parent", ["parentRun", "place"])
  .index("by_end", ["endedAt"])
  .index("by_closed", ["closedAt"])
  .index("by_workflow_closed", ["workflow", "closedAt"])
  .index("by_status_closed", ["status", "closedAt"])
  .index("by_expiry", ["expiresAt"]);

const tasks = defineTable({
  run: v.string(),
  key: v.id("runs"),
  lane: v.string(),
  rank: v.number(), // minus the priority, since an index is read upwards
  dueLane: v.optional(v.string()), // the lane while the run is due, else absent: the claim index holds no others
  dueAt: v.optional(v.number()),
  owner: v.optional(v.string()),
  attention: v.optional(v.string()), // the owner, while a message lies here that it may not have seen
  epoch: v.number(),
  seq: v.number(),
  generation: v.number(), // as in `runs`, which a commit that goes on running need not read
  position: v.number(),
  older: v.number(), // entries of earlier generations
  at: v.number(),
  flushed: v.array(v.number()),
  strikes: v.number(),
  letters: v.number(),
  unread: v.number(),
  unreadSignals: v.number(),
  bytes: v.number(),
  waits: v.array(wait),
})
  .index("by_run", ["run"])
  .index("by_due", ["dueLane", "rank", "dueAt"])
  .index("by_lane_due", ["dueLane", "dueAt"])
  .index("by_owner", ["owner", "lane"])
  .index("by_attention", ["attention"]);

export default defineSchema({
  runs,
  tasks,
  labels: defineTable({ key: v.id("runs"), name: v.string(), value: v.string(), place: v.string() })
    .index("by_label", ["name", "value", "place"])
    .index("by_key", ["key"]),
  journal: defineTable({
    key: v.id("runs"),
    generation: v.number(),
    position: v.number(),
    at: v.number(),
    epoch: v.number(), // of the commit that brought it, with `seq`: a repeat of that commit is known by them
    seq: v.number(),
    data: kept,
  })
    .index("by_position", ["key", "generation", "position"])
    .index("by_commit", ["key", "epoch", "seq"]),
  // Commits that appended nothing.
  stamps: defineTable({ key: v.id("runs"), epoch: v.number(), seq: v.number(), at: v.number() }).index("by_commit", [
    "key",
    "epoch",
    "seq",
  ]),
  messages: defineTable({
    key: v.id("runs"),
    seq: v.number(),
    id: v.string(),
    kind: messageKind,
    name: v.string(),
    payload: kept,
    generation: v.number(),
    at: v.number(),
    unread: v.boolean(),
    dead: v.optional(v.string()),
  })
    .index("by_seq", ["key", "seq"])
    .index("by_message", ["key", "id"])
    .index("by_unread", ["key", "unread", "seq"])
    .index("by_kind", ["key", "kind", "unread"]),
  values: defineTable({ key: v.id("runs"), name: v.string(), data: kept }).index("by_name", ["key", "name"]),
  streams: defineTable({ key: v.id("runs"), name: v.string(), offset: v.number(), data: kept }).index("by_offset", [
    "key",
    "name",
    "offset",
  ]),
  parts: defineTable({ key: v.id("runs"), hash: v.string(), data: kept }).index("by_hash", ["key", "hash"]),
  requests: defineTable({
    key: v.id("runs"),
    request: v.string(),
    outcome: v.string(),
    status,
    generation: v.number(),
  }).index("by_request", ["key", "request"]),
  payloads: defineTable({ key: v.string(), data: bytes }).index("by_key", ["key"]),
  sessions: defineTable({
    session: v.string(),
    name: v.string(),
    registered: v.array(v.array(v.string())),
    queues: v.array(v.string()),
    startedAt: v.number(),
    lostRuns: v.boolean(), // it expired, runs were taken from it, and no poll since shows that it knows
    lanes: v.array(v.string()), // of its last poll
  }).index("by_session", ["session"]),
  // Apart from `sessions`, which `watch` reads: a heartbeat, or a poll that finds nothing, makes nobody look again.
  leases: defineTable({
    session: v.string(),
    seenAt: v.number(),
    expiresAt: v.number(),
    reaped: v.boolean(), // expired, and holding nothing any more
    lastPoll: v.optional(v.string()),
    lastSent: v.optional(sent),
    lastClaims: v.array(v.object({ run: v.string(), epoch: v.number(), lonely: v.boolean() })),
  })
    .index("by_session", ["session"])
    .index("by_expiry", ["reaped", "expiresAt"]),
  records: defineTable({
    kind: v.string(),
    key: v.string(),
    value: kept,
    version: v.number(),
    request: v.optional(v.string()), // of its last put: a repeat of that is known by it
    updatedAt: v.number(),
    expiresAt: v.optional(v.number()),
  })
    .index("by_key", ["kind", "key"])
    .index("by_expiry", ["expiresAt"]),
  // The highest epoch of any run that was purged: an id may come again, its workers' commits may not.
  tide: defineTable({ epochsPurged: v.number() }),
  // Purged runs of which more is left than one transaction deletes.
  graves: defineTable({ key: v.id("runs") }),
});

import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  items: defineTable({ name: v.string(), rank: v.number(), any: v.optional(v.any()) })
    .index("by_rank", ["rank"])
    .index("by_name", ["name", "rank"]),
  counters: defineTable({ name: v.string(), value: v.number() }).index("by_name", ["name"]),
  loose: defineTable(v.any()).index("by_key", ["key"]),
  stamped: defineTable({ at: v.commitTs() }).index("by_at", ["at"]),
});

"use node";
import { createHash } from "node:crypto";
import { actionGeneric } from "convex/server";
import { v } from "convex/values";

export const hash = actionGeneric({
  args: { text: v.string() },
  handler: async (_, { text }) => ({
    hash: createHash("md5").update(Buffer.from(text)).digest("hex"),
    platform: process.platform,
    secret: process.env.SECRET ?? null,
    home: process.env.HOME ?? null,
  }),
});

import { defineComponent } from "convex/server";
import { v } from "convex/values";

export default defineComponent("box", { env: { GIVEN: v.optional(v.string()), FIXED: v.optional(v.string()) } });

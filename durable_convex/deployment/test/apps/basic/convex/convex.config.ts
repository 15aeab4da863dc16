import { defineApp } from "convex/server";
import { v } from "convex/values";
import box from "./box/convex.config";

const app = defineApp({ env: { SECRET: v.optional(v.string()) } });
app.use(box, { env: { GIVEN: app.env.SECRET, FIXED: "fixed" } });
app.use(box, { name: "second" });
export default app;

import { defineApp } from "convex/server";
import durable from "./components/durable/convex.config";

const app = defineApp();
app.use(durable);
export default app;

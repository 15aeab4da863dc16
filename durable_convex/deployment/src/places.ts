/** Where this server itself lies. */
import { fileURLToPath } from "node:url";
import { join } from "node:path";

/** The folder of `package.json`; `start.mjs` says it, because the bundle it runs lies somewhere else. */
export const HOME = process.env["DURABLE_DEPLOYMENT_HOME"] ?? fileURLToPath(new URL("..", import.meta.url));

/** This server's own packages: functions without packages of their own find `convex` there. */
export const OWN_MODULES = join(HOME, "node_modules");

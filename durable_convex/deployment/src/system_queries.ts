/** Queries of the deployment itself, which `npx convex env list` and `env get` ask. */
import type { QueryOutcome } from "./call.ts";
import type { Environment } from "./environment.ts";
import { ReadSet } from "./reads.ts";
import { isObject, type Json } from "./values.ts";

const VARIABLES = "_system/cli/queryEnvironmentVariables";

/** Answers such a query for an administrator; null if the name is none of them. */
export function systemQuery(environment: Environment, path: string, args: Json): QueryOutcome | null {
  const [module, name = "default"] = path.split(":");
  if (module !== VARIABLES) return null;
  const reads = new ReadSet();
  const variables = environment.all(reads);
  const wanted = isObject(args) ? args["name"] : undefined;
  const value = name === "get" ? (variables.find((variable) => variable.name === wanted) ?? null) : variables;
  return { outcome: { ok: true, value: value as unknown as Json, logLines: [] }, reads, journal: null };
}

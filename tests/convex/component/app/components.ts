/** What `_generated/api` would export in a real app. */
import { componentsGeneric, type FunctionReference } from "convex/server";
import type { DurableComponent } from "@component/orchestrator";

type Peek = { peek: { table: FunctionReference<"query", "internal", { name: string }, unknown[]> } };

export const components = componentsGeneric() as unknown as { durable: DurableComponent & Peek };

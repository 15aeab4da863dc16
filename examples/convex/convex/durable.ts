// What workers call, behind the token in this deployment's DURABLE_TOKEN. The page calls `orders.ts` instead.
import { componentsGeneric } from "convex/server";
import { expose, type DurableComponent } from "./components/durable/expose";

const { durable } = componentsGeneric() as unknown as { durable: DurableComponent };
export const { info, sync, read, watch } = expose(durable);

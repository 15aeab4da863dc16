/** What an app that installs the component has in `convex/durable.ts`. */
import { expose } from "@component/expose";
import { components } from "./components";

export const { info, sync, read, watch, start, signal, cancel, get, list, steps } = expose(components.durable);

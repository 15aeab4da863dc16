/** The component behind other checks than tokens. */
import { expose, identityAuth, type Call } from "@component/expose";
import { components } from "./components";

/** What the hook was told, for the tests to look at. */
export const asked: Call[] = [];

export const { sync, get, start } = expose(components.durable, {
  worker: identityAuth({ subjectPrefix: "worker:", issuer: "https://issuer.test" }),
  authorize: async (ctx, call) => {
    asked.push(call);
    const identity = await ctx.auth.getUserIdentity();
    return identity !== null && call.run === `order-of-${identity.subject}`;
  },
});

/** Who may call: checks that fail closed. */
import type { Auth } from "convex/server";
import { trouble } from "./json";
import { sha256, variable } from "./platform";

/** What a check is told of a call. */
export interface Call {
  /** `sync`, `start`, ... */
  function: string;
  token?: string;
  [argument: string]: unknown;
}

/** Throws, or answers false, unless the caller may. */
export type Authorize = (ctx: { auth: Auth }, call: Call) => boolean | void | Promise<boolean | void>;

/** Let only those in who pass. */
export async function admit(authorize: Authorize, ctx: { auth: Auth }, call: Call): Promise<void> {
  if ((await authorize(ctx, call)) === false) throw trouble("UNAUTHORIZED", "You may not do this.");
}

/**
 * A shared secret in a variable of the deployment's environment (`npx convex env set NAME ...`).
 *
 * A second one in `NAME_NEXT` is taken as well: set it, give it to the workers one after the other, move it to `NAME`.
 * With neither set nobody is let in.
 */
export function tokenAuth(name: string): Authorize {
  return async (_ctx, { token }) => {
    const secrets = [variable(name), variable(`${name}_NEXT`)].filter((one): one is string => Boolean(one));
    if (secrets.length === 0) {
      throw trouble("UNAUTHORIZED", `No token is configured: set ${name} in this deployment's environment.`);
    }
    const given = await sha256(token ?? "");
    let known = false;
    for (const secret of secrets) known = equal(given, await sha256(secret)) || known;
    if (!known) throw trouble("UNAUTHORIZED", token ? "The token is wrong." : "A token is missing.");
  };
}

/** Compare digests in a time that does not depend on where they differ. */
function equal(one: Uint8Array, other: Uint8Array): boolean {
  let different = one.length ^ other.length;
  for (let n = 0; n < one.length; n += 1) different |= (one[n] ?? 0) ^ (other[n] ?? 0);
  return different === 0;
}

/**
 * A signed identity instead of a secret: the caller brings a JWT that `convex/auth.config.ts` knows how to verify.
 *
 * Its subject must begin so; its issuer, if given, must be that one.
 */
export function identityAuth(options: { subjectPrefix: string; issuer?: string }): Authorize {
  return async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    if (identity === null) throw trouble("UNAUTHORIZED", "An identity is missing.");
    const issued = options.issuer === undefined || identity.issuer === options.issuer;
    if (!issued || !identity.subject.startsWith(options.subjectPrefix)) {
      throw trouble("UNAUTHORIZED", "This identity may not do this.");
    }
  };
}

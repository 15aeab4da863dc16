/** A call: who asks for a function, and what is known about the request. */
import type { FunctionError } from "./errors.ts";
import type { ReadSet } from "./reads.ts";
import type { Json, JsonObject } from "./values.ts";

export type Identity =
  | { readonly kind: "anonymous" }
  | { readonly kind: "user"; readonly attributes: JsonObject; readonly token: string; readonly expiresAt: number }
  | { readonly kind: "admin"; readonly actingAs: JsonObject | null };

export const ANONYMOUS: Identity = { kind: "anonymous" };

/** What `ctx.auth.getUserIdentity()` answers. */
export function attributesOf(identity: Identity): JsonObject | null {
  if (identity.kind === "user") return identity.attributes;
  return identity.kind === "admin" ? identity.actingAs : null;
}

export interface RequestInfo {
  readonly id: string;
  readonly ip: string | null;
  readonly userAgent: string | null;
}

export interface Call {
  readonly identity: Identity;
  readonly request: RequestInfo;
  /** The job that runs this function, if the scheduler does. */
  readonly scheduledId: string | null;
  readonly logLines: string[];
}

/** The same call, as a function of another component sees it: components do not see who is logged in. */
export function withoutIdentity(call: Call): Call {
  return { ...call, identity: ANONYMOUS };
}

export type Outcome =
  | { readonly ok: true; readonly value: Json; readonly logLines: readonly string[] }
  | { readonly ok: false; readonly error: FunctionError; readonly logLines: readonly string[] };

/** The answer of a query, with what it depends on. */
export interface QueryOutcome {
  readonly outcome: Outcome;
  readonly reads: ReadSet;
  /** Where its page ended, to be handed in when it runs again; null if it had none. */
  readonly journal: string | null;
}

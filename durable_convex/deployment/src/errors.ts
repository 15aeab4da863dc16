/** What can go wrong: in a function (the caller's answer says so), or in the deployment (an HTTP status says so). */
import type { Json } from "./values.ts";

/** A function failed, or was called in a way that it refuses: the answer is 200 with `status: "error"`. */
export class FunctionError extends Error {
  override readonly name = "FunctionError";
  /** The data of a ConvexError, encoded; undefined for every other error. */
  readonly data: Json | undefined;

  constructor(message: string, data?: Json) {
    super(message);
    this.data = data;
  }
}

/** The request itself failed: the answer is an HTTP status and `{code, message}`; on a socket it is closed. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The deployment cannot start: what the developer has to mend is in the message. */
export class SetupError extends Error {
  override readonly name = "SetupError";
}

export function messageOf(error: unknown): string {
  if (typeof error === "object" && error !== null && "message" in error) return String(error.message);
  return String(error);
}

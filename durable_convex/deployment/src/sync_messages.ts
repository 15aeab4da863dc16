/** The messages of the sync protocol, as far as this server reads and writes them. */
import type { Redaction } from "./answers.ts";
import type { Outcome } from "./call.ts";
import { encodeTs } from "./snapshots.ts";
import { wireText, type Json, type JsonObject } from "./values.ts";

export interface AddQuery {
  type: "Add";
  queryId: number;
  udfPath: string;
  args: Json[];
  journal?: string | null;
  componentPath?: string | null;
}

export interface FunctionMessage {
  type: "Mutation" | "Action";
  requestId: number;
  udfPath: string;
  args: Json[];
  componentPath?: string | null;
}

export interface Authenticate {
  type: "Authenticate";
  tokenType: "Admin" | "User" | "None";
  value?: string;
  baseVersion: number;
  impersonating?: JsonObject | null;
}

export interface ModifyQuerySet {
  type: "ModifyQuerySet";
  baseVersion: number;
  newVersion: number;
  modifications: (AddQuery | { type: "Remove"; queryId: number })[];
}

export type ClientMessage =
  | { type: "Connect"; sessionId: string; maxObservedTimestamp?: string | null; clientTs?: number | null }
  | { type: "Event" }
  | Authenticate
  | ModifyQuerySet
  | FunctionMessage;

export interface StateVersion {
  readonly querySet: number;
  readonly identity: number;
  readonly ts: bigint;
}

export const PING = '{"type":"Ping"}';

/** Writes server messages; values in them are encoded as the backend encodes them. */
export class Messages {
  private readonly redaction: Redaction;

  constructor(redaction: Redaction) {
    this.redaction = redaction;
  }

  transition(start: StateVersion, end: StateVersion, modifications: readonly string[]): string {
    const versions = `"startVersion":${versionText(start)},"endVersion":${versionText(end)}`;
    return `{"type":"Transition",${versions},"modifications":[${modifications.join(",")}]}`;
  }

  /** The outcome of a subscribed query, without its place in the query set: equal texts are not sent twice. */
  queryBody(outcome: Outcome, journal: string | null, requestId: string): string {
    const rest = `"logLines":${JSON.stringify(this.redaction.logLines(outcome.logLines))},"journal":${JSON.stringify(journal)}}`;
    if (outcome.ok) return `"value":${wireText(outcome.value)},${rest}`;
    const data = outcome.error.data === undefined ? "" : `"errorData":${wireText(outcome.error.data)},`;
    return `"errorMessage":${JSON.stringify(this.redaction.message(outcome.error, requestId))},${data}${rest}`;
  }

  queryModification(queryId: number, outcome: Outcome, body: string): string {
    return `{"type":"${outcome.ok ? "QueryUpdated" : "QueryFailed"}","queryId":${queryId},${body}`;
  }

  /** `ts`: when a mutation committed; null for actions. */
  response(type: "Mutation" | "Action", requestId: number, outcome: Outcome, ts: bigint | null, id: string): string {
    const head = `{"type":"${type}Response","requestId":${requestId},"logLines":${JSON.stringify(this.redaction.logLines(outcome.logLines))}`;
    if (outcome.ok)
      return `${head},"success":true,"result":${wireText(outcome.value)}${ts === null ? "" : `,"ts":"${encodeTs(ts)}"`}}`;
    const data = outcome.error.data === undefined ? "" : `,"errorData":${wireText(outcome.error.data)}`;
    return `${head},"success":false,"result":${JSON.stringify(this.redaction.message(outcome.error, id))}${data}}`;
  }

  authError(error: string, baseVersion: number, authUpdateAttempted: boolean): string {
    return JSON.stringify({ type: "AuthError", error, baseVersion, authUpdateAttempted });
  }

  fatalError(error: string): string {
    return JSON.stringify({ type: "FatalError", error });
  }
}

function versionText({ querySet, identity, ts }: StateVersion): string {
  return `{"querySet":${querySet},"identity":${identity},"ts":"${encodeTs(ts)}"}`;
}

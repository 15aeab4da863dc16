/** Answers of functions as clients get them, with what production hides left out. */
import type { Outcome } from "./call.ts";
import type { FunctionError } from "./errors.ts";
import { cleanJson, wireText, type Json } from "./values.ts";

export class Redaction {
  private readonly production: boolean;

  constructor(production: boolean) {
    this.production = production;
  }

  /** The text of an error: production tells nothing but the id of the request. */
  message(error: FunctionError, requestId: string): string {
    const head = `[Request ID: ${requestId}] Server Error`;
    return this.production ? head : `${head}\n${error.message}\n`;
  }

  logLines(lines: readonly string[]): readonly string[] {
    return this.production ? [] : lines;
  }
}

/** "convex_encoded_json" keeps all kinds of values apart, "json" is for people and curl. */
export type Format = "convex_encoded_json" | "json";

export function valueText(value: Json, format: Format): string {
  return wireText(format === "json" ? cleanJson(value) : value);
}

/** The body of an answer over HTTP. */
export function answerText(outcome: Outcome, redaction: Redaction, requestId: string, format: Format): string {
  const lines = redaction.logLines(outcome.logLines);
  const logs = lines.length === 0 ? "" : `,"logLines":${JSON.stringify(lines)}`;
  if (outcome.ok) return `{"status":"success","value":${valueText(outcome.value, format)}${logs}}`;
  const message = JSON.stringify(redaction.message(outcome.error, requestId));
  const data = outcome.error.data === undefined ? "" : `,"errorData":${valueText(outcome.error.data, format)}`;
  return `{"status":"error","errorMessage":${message}${data}${logs}}`;
}

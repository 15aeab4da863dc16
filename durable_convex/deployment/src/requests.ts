/** Reading HTTP requests and writing answers. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { messageOf, RequestError } from "./errors.ts";

const BODY_BYTES_MAX = 32 << 20;

/** What a route answers. */
export interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body: string | Uint8Array;
}

export function jsonAnswer(body: string, status = 200): Answer {
  return { status, type: "application/json", body };
}

export function textAnswer(body: string, status = 200): Answer {
  return { status, type: "text/plain", body };
}

export function errorAnswer({ status, code, message }: RequestError): Answer {
  return jsonAnswer(JSON.stringify({ code, message }), status);
}

export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX)
      throw new RequestError(413, "RequestTooLarge", "The request is larger than the platform allows.");
    chunks.push(chunk);
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

/** The body as JSON. */
export async function jsonOf(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const value = parseJson((await bodyOf(request)).toString("utf8"));
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new RequestError(400, "BadJsonBody", "The body of the request is no JSON object.");
}

/** Parses what a client sent. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new RequestError(400, "BadJsonBody", `Failed to parse the request as JSON: ${messageOf(error)}`);
  }
}

const CORS: Readonly<Record<string, string>> = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Headers": "*, Authorization, Content-Type, Convex-Client",
  "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
};

export function send(response: ServerResponse, { status, type, headers, body }: Answer): void {
  const length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  response.writeHead(status, {
    ...CORS,
    ...(type === undefined ? {} : { "Content-Type": type }),
    "Content-Length": length,
    ...headers,
  });
  response.end(body);
}

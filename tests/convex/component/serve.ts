/**
 * The component on `convex-test`, behind the part of Convex's HTTP API that the Python adapter uses.
 *
 * `npm run serve -- --port 0` prints its address as the first line. A path before `/api` names a deployment of its own,
 * made when it is first asked: `http://127.0.0.1:PORT/one/api/mutation`. The header `Standin-Now` (milliseconds) sets
 * the clock for a request.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { makeFunctionReference } from "convex/server";
import { ConvexError, convexToJson, jsonToConvex, type JSONValue } from "convex/values";
import { engine, type Engine } from "./engine";

interface Request {
  path: string;
  args: JSONValue;
}

type Reply = { status: number; body: object };

const realNow = Date.now.bind(Date);
let now: number | null = null;
Date.now = () => now ?? realNow();
// Tests' clocks count microseconds too; convex-test makes whole numbers of milliseconds of its times by BigInt.
globalThis.BigInt = new Proxy(BigInt, {
  apply: (target, _this, [of]: [number]) => target(typeof of === "number" ? Math.floor(of) : of),
});

process.env.DURABLE_TOKEN ??= "secret";
process.env.DURABLE_CALLER_TOKEN ??= "caller secret";

const deployments = new Map<string, Engine>();

function deployment(name: string): Engine {
  let found = deployments.get(name);
  if (found === undefined) {
    found = engine();
    deployments.set(name, found);
  }
  return found;
}

async function call(name: string, kind: string, { path, args }: Request): Promise<Reply> {
  const test = deployment(name);
  const given = jsonToConvex(args ?? {}) as Record<string, never>;
  try {
    const value: unknown =
      kind === "query"
        ? await test.query(makeFunctionReference<"query">(path), given)
        : await test.mutation(makeFunctionReference<"mutation">(path), given);
    return { status: 200, body: { status: "success", value: convexToJson((value ?? null) as never), logLines: [] } };
  } catch (error) {
    const errorMessage = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const body = { status: "error", errorMessage, logLines: [] };
    if (!(error instanceof ConvexError)) return { status: 560, body };
    // convex-test hands the data over as text where the error has crossed a component's border.
    const data: unknown = typeof error.data === "string" ? JSON.parse(error.data) : error.data;
    return { status: 560, body: { ...body, errorData: convexToJson(data as never) } };
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

// convex-test runs one function at a time, and its clock is this process's.
let last: Promise<unknown> = Promise.resolve();

async function answer(request: IncomingMessage): Promise<Reply> {
  const url = new URL(request.url ?? "/", "http://here");
  const match = /^(.*)\/api\/(query|mutation)$/.exec(url.pathname);
  if (url.pathname.endsWith("/version")) return { status: 200, body: { version: "convex-test" } };
  if (match === null || request.method !== "POST") {
    return { status: 404, body: { code: "NotFound", message: `no ${url.pathname}` } };
  }
  const asked = JSON.parse(await bodyOf(request)) as Request;
  const header = request.headers["standin-now"];
  const turn = last.then(async () => {
    now = typeof header === "string" ? Number(header) : null;
    try {
      return await call(match[1] ?? "", match[2] ?? "", asked);
    } finally {
      now = null;
    }
  });
  last = turn.catch(() => null);
  return await turn;
}

const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  answer(request).then(
    ({ status, body }) => {
      response.writeHead(status, { "Content-Type": "application/json" });
      response.end(JSON.stringify(body));
    },
    (error: unknown) => {
      response.writeHead(500, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ code: "InternalServerError", message: String(error) }));
    },
  );
});

const port = process.argv.indexOf("--port");
server.listen(port < 0 ? 0 : Number(process.argv[port + 1]), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

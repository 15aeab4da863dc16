/** The HTTP interface: the functions API, the administrators' endpoints, and what clients ask about a deployment. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { answerText, type Format, type Redaction } from "./answers.ts";
import type { Authenticator } from "./auth.ts";
import type { Identity } from "./call.ts";
import type { FunctionType } from "./codebase.ts";
import { FAULTS_PATH, STATS_PATH, type Control } from "./control.ts";
import type { Change, Environment } from "./environment.ts";
import { messageOf, RequestError } from "./errors.ts";
import type { Faults } from "./faults.ts";
import type { Caller, FunctionRequest, Gateway } from "./gateway.ts";
import { requestId } from "./random.ts";
import { errorAnswer, jsonAnswer, jsonOf, parseJson, send, textAnswer, type Answer } from "./requests.ts";
import type { HttpActions } from "./http_actions.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Json } from "./values.ts";

export interface HttpParts {
  readonly gateway: Gateway;
  readonly authenticator: Authenticator;
  readonly environment: Environment;
  readonly redaction: Redaction;
  readonly faults: Faults;
  readonly control: Control;
  readonly snapshots: Snapshots;
  readonly httpActions: HttpActions;
}

type Route = (request: IncomingMessage, url: URL) => Promise<Answer>;

export class HttpInterface {
  readonly server: Server;
  private readonly parts: HttpParts;
  private readonly routes: ReadonlyMap<string, Route>;

  constructor(parts: HttpParts) {
    this.parts = parts;
    this.routes = this.table();
    this.server = createServer((request, response) => void this.handle(request, response));
    this.server.keepAliveTimeout = 60_000;
  }

  private table(): Map<string, Route> {
    const { control, gateway } = this.parts;
    const name = gateway.deployment.surroundings.deploymentName;
    return new Map<string, Route>([
      ["GET /", async () => textAnswer("This Convex deployment is running (development server).")],
      ["GET /version", async () => textAnswer("development")],
      ["GET /instance_name", async () => textAnswer(name)],
      ["GET /instance_version", async () => textAnswer("development")],
      ["POST /api/query", (request) => this.call(request, "query")],
      ["GET /api/query", (request, url) => this.queryByUrl(request, url)],
      ["POST /api/mutation", (request) => this.call(request, "mutation")],
      ["POST /api/action", (request) => this.call(request, "action")],
      ["POST /api/function", (request) => this.call(request, null)],
      ["POST /api/query_ts", async () => jsonAnswer(JSON.stringify({ ts: await this.parts.snapshots.take() }))],
      ["POST /api/query_at_ts", (request) => this.queryAtTs(request)],
      ["POST /api/query_batch", (request) => this.queryBatch(request)],
      ["GET /api/check_admin_key", async (request) => this.asAdmin(request, async () => jsonAnswer("null"))],
      [
        "POST /api/update_environment_variables",
        (request) => this.asAdmin(request, () => this.updateEnvironment(request)),
      ],
      [
        "POST /api/v1/update_environment_variables",
        (request) => this.asAdmin(request, () => this.updateEnvironment(request)),
      ],
      [
        "GET /api/v1/list_environment_variables",
        (request) => this.asAdmin(request, async () => this.listEnvironment()),
      ],
      [`GET ${FAULTS_PATH}`, (request) => this.asAdmin(request, async () => control.setFaults({}))],
      [`POST ${FAULTS_PATH}`, (request) => this.asAdmin(request, async () => control.setFaults(await jsonOf(request)))],
      [`GET ${STATS_PATH}`, (request) => this.asAdmin(request, async () => control.stats())],
    ]);
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const answer = await this.answer(request);
      if (answer === null) response.socket?.destroy();
      else send(response, answer);
    } catch (error) {
      if (error instanceof RequestError) send(response, errorAnswer(error));
      else {
        console.error("Internal error:", error);
        send(
          response,
          errorAnswer(
            new RequestError(500, "InternalServerError", `Your request couldn't be completed: ${messageOf(error)}`),
          ),
        );
      }
    }
  }

  /** The answer; null cuts the connection instead. */
  private async answer(request: IncomingMessage): Promise<Answer | null> {
    if (request.method === "OPTIONS") return { status: 204, body: "" };
    const url = new URL(request.url ?? "/", "http://localhost");
    const route = this.routes.get(`${request.method} ${url.pathname}`);
    const isControl = url.pathname === FAULTS_PATH || url.pathname === STATS_PATH;
    if (isControl && route !== undefined) return route(request, url);
    await this.parts.faults.delay();
    if (url.pathname.startsWith("/api/")) this.parts.faults.admit();
    const answer = route === undefined ? await this.unlisted(request, url) : await route(request, url);
    await this.parts.faults.delay();
    const isMutation = url.pathname === "/api/mutation";
    return isMutation && this.parts.faults.losesResponse() ? null : answer;
  }

  private async unlisted(request: IncomingMessage, url: URL): Promise<Answer> {
    const run = /^\/api\/run\/(.+)\/([^/]+)$/.exec(url.pathname);
    if (run !== null && request.method === "POST") {
      const { args = {} } = await jsonOf(request);
      const path = `${decodeURIComponent(run[1] ?? "")}:${decodeURIComponent(run[2] ?? "")}`;
      return this.run({ path, componentPath: null, args: args as Json }, null, await this.caller(request), "json");
    }
    const answer = await this.parts.httpActions.run(request, url, await this.caller(request, true));
    return answer ?? textAnswer("Not found", 404);
  }

  private async caller(request: IncomingMessage, lenient = false): Promise<Caller> {
    const { headers, socket } = request;
    const about = { id: requestId(), ip: socket.remoteAddress ?? null, userAgent: headers["user-agent"] ?? null };
    return { identity: await this.identify(headers.authorization, lenient), request: about };
  }

  /** HTTP actions read the header themselves, so one that is no token of ours does not stop them. */
  private async identify(header: string | undefined, lenient: boolean): Promise<Identity> {
    try {
      return await this.parts.authenticator.authenticate(header);
    } catch (error) {
      if (lenient && error instanceof RequestError) return { kind: "anonymous" };
      throw error;
    }
  }

  private async call(request: IncomingMessage, type: FunctionType | null): Promise<Answer> {
    const body = await jsonOf(request);
    const caller = await this.caller(request);
    return this.run(functionRequest(body), type, caller, formatOf(body["format"], request));
  }

  private async run(
    asked: FunctionRequest,
    type: FunctionType | null,
    caller: Caller,
    format: Format,
  ): Promise<Answer> {
    const outcome = await this.parts.gateway.run(asked, type, caller);
    return jsonAnswer(answerText(outcome, this.parts.redaction, caller.request.id, format));
  }

  private async queryByUrl(request: IncomingMessage, url: URL): Promise<Answer> {
    const read = (name: string): string | null => url.searchParams.get(name);
    const body = { path: read("path") ?? "", args: parseJson(read("args") ?? "{}") as Json };
    return this.run(
      functionRequest(body),
      "query",
      await this.caller(request),
      formatOf(read("format") ?? undefined, request),
    );
  }

  private async queryAtTs(request: IncomingMessage): Promise<Answer> {
    const body = await jsonOf(request);
    const caller = await this.caller(request);
    const outcome = await this.parts.snapshots.query(String(body["ts"]), functionRequest(body), caller);
    return jsonAnswer(answerText(outcome, this.parts.redaction, caller.request.id, formatOf(body["format"], request)));
  }

  private async queryBatch(request: IncomingMessage): Promise<Answer> {
    const { queries = [] } = await jsonOf(request);
    const caller = await this.caller(request);
    const asked = queries as Record<string, unknown>[];
    const outcomes = await this.parts.snapshots.queryTogether(asked.map(functionRequest), caller);
    const texts = outcomes.map((outcome, at) =>
      answerText(outcome, this.parts.redaction, caller.request.id, formatOf(asked[at]?.["format"], request)),
    );
    return jsonAnswer(`{"results":[${texts.join(",")}]}`);
  }

  private async asAdmin(request: IncomingMessage, act: () => Promise<Answer>): Promise<Answer> {
    const identity = await this.parts.authenticator.authenticate(request.headers.authorization);
    if (identity.kind !== "admin")
      throw new RequestError(401, "Unauthenticated", "This needs the admin key: `Authorization: Convex KEY`.");
    return act();
  }

  private async updateEnvironment(request: IncomingMessage): Promise<Answer> {
    const { changes } = await jsonOf(request);
    if (!Array.isArray(changes)) throw new RequestError(400, "BadJsonBody", "Expected {changes: [{name, value?}]}.");
    const parsed = (changes as { name: unknown; value?: unknown }[]).map(({ name, value }): Change => ({
      name: String(name),
      value: typeof value === "string" ? value : null,
    }));
    await this.parts.gateway.deployment.transact((transaction) => this.parts.environment.apply(transaction, parsed));
    return { status: 200, body: "" };
  }

  private listEnvironment(): Answer {
    const variables = Object.fromEntries(this.parts.environment.all().map(({ name, value }) => [name, value]));
    return jsonAnswer(JSON.stringify({ environmentVariables: variables }));
  }
}

function functionRequest(body: Readonly<Record<string, unknown>>): FunctionRequest {
  const { path, args = {}, componentPath } = body;
  if (typeof path !== "string")
    throw new RequestError(400, "BadJsonBody", "The request names no function: `path` is missing.");
  return { path, args: args as Json, componentPath: typeof componentPath === "string" ? componentPath : null };
}

/** Without a format, clients of Convex get the encoding that they understand and others plain JSON. */
function formatOf(format: unknown, request: IncomingMessage): Format {
  if (format === "json" || format === "convex_encoded_json") return format;
  if (format !== undefined) throw new RequestError(400, "BadFormat", `There is no format ${JSON.stringify(format)}.`);
  return /^(npm|python|rust)/.test(String(request.headers["convex-client"] ?? "")) ? "convex_encoded_json" : "json";
}

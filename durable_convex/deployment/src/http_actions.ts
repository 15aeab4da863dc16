/** HTTP actions: the routes of `http.ts`, served below /http. */
import type { IncomingMessage } from "node:http";
import { ActionHost } from "./action_host.ts";
import type { Call } from "./call.ts";
import type { FunctionInfo } from "./codebase.ts";
import type { Component } from "./components.ts";
import type { Deployment } from "./deployment.ts";
import { messageOf } from "./errors.ts";
import type { Caller, Gateway } from "./gateway.ts";
import { bodyOf, jsonAnswer, textAnswer, type Answer } from "./requests.ts";
import { thrownError } from "./stacks.ts";
import type { Redaction } from "./answers.ts";

/** What paths begin with; it is part of CONVEX_SITE_URL, and the functions do not see it. */
export const HTTP_PREFIX = "/http";

interface Router {
  lookup(
    path: string,
    method: string,
  ): readonly [{ invokeHttpAction(request: Request): Promise<Response> }, string, string] | null;
}

const ROUTER: FunctionInfo = {
  name: "http:default",
  module: "http",
  exportName: "default",
  type: "action",
  isPublic: true,
  args: { type: "any" },
  returns: null,
};

export class HttpActions {
  private readonly gateway: Gateway;
  private readonly redaction: Redaction;

  constructor(gateway: Gateway, redaction: Redaction) {
    this.gateway = gateway;
    this.redaction = redaction;
  }

  /** The answer of the action that a request is routed to; null if the path is none of theirs. */
  async run(request: IncomingMessage, url: URL, caller: Caller): Promise<Answer | null> {
    if (url.pathname !== HTTP_PREFIX && !url.pathname.startsWith(`${HTTP_PREFIX}/`)) return null;
    const { deployment } = this.gateway;
    const { component, path } = route(deployment.surroundings.app, url.pathname.slice(HTTP_PREFIX.length) || "/");
    if (!component.code.has(ROUTER.module))
      return textAnswer("This Convex deployment does not have HTTP actions enabled.", 404);
    const origin = `http://${request.headers.host ?? "localhost"}`;
    const body = ["GET", "HEAD"].includes(request.method ?? "GET") ? null : new Uint8Array(await bodyOf(request));
    const asked = new Request(`${origin}${path}${url.search}`, {
      method: request.method ?? "GET",
      headers: headersOf(request),
      body,
    });
    return this.invoke(deployment, component, path, asked, this.gateway.call(caller));
  }

  private async invoke(
    deployment: Deployment,
    component: Component,
    path: string,
    request: Request,
    call: Call,
  ): Promise<Answer> {
    const pool = component.code.pool("action");
    const realm = pool.take(new ActionHost(deployment, { component, fn: ROUTER }, call));
    try {
      const router = realm.load(ROUTER.module)[ROUTER.exportName] as Router;
      const match = router.lookup(path, request.method);
      if (match === null) return textAnswer(`No matching routes found for ${path}`, 404);
      return await answerOf(await match[0].invokeHttpAction(request));
    } catch (error) {
      const told = this.redaction.message(thrownError(error, component.code.bundle), call.request.id);
      return jsonAnswer(JSON.stringify({ code: told.split("\n")[0], trace: told }), 500);
    } finally {
      pool.give(realm);
    }
  }
}

/** The component that is mounted at the path, and the path as it sees it. */
function route(component: Component, path: string): { component: Component; path: string } {
  const prefixes = [...component.mounts.keys()].sort((a, b) => b.length - a.length);
  const prefix = prefixes.find((candidate) => path.startsWith(candidate));
  const child = prefix === undefined ? undefined : component.children.get(component.mounts.get(prefix) ?? "");
  return prefix === undefined || child === undefined
    ? { component, path }
    : route(child, `/${path.slice(prefix.length)}`);
}

function headersOf(request: IncomingMessage): Headers {
  const headers = new Headers();
  for (let at = 0; at < request.rawHeaders.length; at += 2)
    headers.append(request.rawHeaders[at] as string, request.rawHeaders[at + 1] as string);
  return headers;
}

async function answerOf(response: Response): Promise<Answer> {
  if (typeof response?.arrayBuffer !== "function")
    throw new Error(`An HTTP action must return a Response, not ${messageOf(response)}.`);
  const cookies = response.headers.getSetCookie();
  const headers = Object.fromEntries([...response.headers].filter(([name]) => name !== "set-cookie"));
  return {
    status: response.status,
    headers: cookies.length === 0 ? headers : { ...headers, "Set-Cookie": cookies },
    body: new Uint8Array(await response.arrayBuffer()),
  };
}

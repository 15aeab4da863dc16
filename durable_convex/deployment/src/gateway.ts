/** The gateway: calls of clients, who may reach public functions, and of administrators, who may reach all. */
import type { Call, Identity, Outcome, RequestInfo } from "./call.ts";
import type { FunctionType } from "./codebase.ts";
import { missing, type Component, type Target } from "./components.ts";
import type { Deployment } from "./deployment.ts";
import { FunctionError, RequestError } from "./errors.ts";
import { isObject, type Json } from "./values.ts";

export interface FunctionRequest {
  readonly path: string;
  /** The component whose function is meant; only administrators may name one. */
  readonly componentPath: string | null;
  readonly args: Json;
}

/** Who calls, and about which request. */
export interface Caller {
  readonly identity: Identity;
  readonly request: RequestInfo;
}

export class Gateway {
  readonly deployment: Deployment;

  constructor(deployment: Deployment) {
    this.deployment = deployment;
  }

  /** Finds a function for a client. */
  find(request: FunctionRequest, identity: Identity): Target {
    const component = this.component(request.componentPath ?? "", identity);
    const fn = component.function(request.path);
    if (fn === null || (!fn.isPublic && identity.kind !== "admin")) throw missing(request.path, component);
    return { component, fn };
  }

  private component(path: string, identity: Identity): Component {
    const { app } = this.deployment.surroundings;
    if (path !== "" && identity.kind !== "admin") {
      throw new RequestError(403, "ComponentPathForbidden", "Only an admin key may call functions of components.");
    }
    const component = app.at(path);
    if (component === null) throw new RequestError(404, "ComponentNotFound", `There is no component "${path}".`);
    return component;
  }

  /** Runs a function of a given type, or of whatever type it is. */
  async run(request: FunctionRequest, type: FunctionType | null, caller: Caller): Promise<Outcome> {
    const call = this.call(caller);
    let target: Target;
    let args: Json;
    try {
      target = this.find(request, caller.identity);
      args = argumentsObject(request.args);
    } catch (error) {
      if (!(error instanceof FunctionError)) throw error;
      return { ok: false, error, logLines: [] };
    }
    switch (type ?? target.fn.type) {
      case "query":
        return this.deployment.runQuery(target, args, call);
      case "mutation":
        return this.deployment.runMutation(target, args, call);
      case "action":
        return this.deployment.runAction(target, args, call);
    }
  }

  call({ identity, request }: Caller): Call {
    return { identity, request, scheduledId: null, logLines: [] };
  }
}

/** Clients send the arguments object itself, or an array that holds it. */
export function argumentsObject(args: Json): Json {
  const object = Array.isArray(args) ? (args.length <= 1 ? (args[0] ?? {}) : null) : args;
  if (!isObject(object)) throw new FunctionError("The arguments of a function must be one object.");
  return object;
}

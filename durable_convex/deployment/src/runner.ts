/** Runs one function: checks its arguments, gives it a realm, and checks what it returns. */
import { withoutIdentity, type Call } from "./call.ts";
import type { FunctionType, Registered } from "./codebase.ts";
import type { Component, Target } from "./components.ts";
import type { Environment } from "./environment.ts";
import { FunctionError } from "./errors.ts";
import { checkShape, checkSize, LIMITS } from "./limits.ts";
import type { Host } from "./realm.ts";
import { thrownError } from "./stacks.ts";
import type { Tables } from "./tables.ts";
import { mismatch, type ValidatorJson } from "./validators.ts";
import type { Json } from "./values.ts";

/** What running functions share. */
export interface Surroundings {
  readonly app: Component;
  readonly tables: Tables;
  readonly environment: Environment;
  readonly deploymentName: string;
}

/** How long a query or mutation may take, with all it calls, in milliseconds. */
export const TRANSACTION_MS = 15_000;
const ACTION_MS = 600_000;

/**
 * Runs a function to its end.
 *
 * Raises:
 *   FunctionError: It threw, or its arguments or result are not what its validators or the limits allow.
 */
export async function runFunction(
  surroundings: Surroundings,
  target: Target,
  type: FunctionType,
  args: Json,
  host: Host,
): Promise<Json> {
  const { component, fn } = target;
  if (fn.type !== type)
    throw new FunctionError(
      `Trying to execute ${fn.name} as ${titled(type)}, but it is defined as ${titled(fn.type)}.`,
    );
  checkArguments(surroundings, target, args);
  const pool = component.code.pool(type === "action" ? "action" : "transaction");
  const realm = pool.take(host);
  let text: string;
  let lost = false;
  try {
    const registered = realm.load(fn.module)[fn.exportName] as Registered;
    const limit = type === "action" ? ACTION_MS : TRANSACTION_MS;
    text = await within(limit, invoke(registered, type, JSON.stringify([args])), () => (lost = true));
  } catch (error) {
    throw thrownError(error, component.code.bundle);
  } finally {
    // A function that never ends keeps its realm.
    if (!lost) pool.give(realm);
  }
  const value = JSON.parse(text) as Json;
  checkResult(surroundings, target, value);
  return value;
}

function titled(type: FunctionType): string {
  return type.charAt(0).toUpperCase() + type.slice(1);
}

function invoke(registered: Registered, type: FunctionType, args: string): Promise<string> {
  if (type === "query") return registered.invokeQuery(args);
  return type === "mutation" ? registered.invokeMutation(args) : registered.invokeAction("", args);
}

async function within<T>(milliseconds: number, work: Promise<T>, onLate: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      onLate();
      reject(new FunctionError(`Function execution timed out (maximum duration: ${milliseconds / 1000}s).`));
    }, milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function checkArguments(surroundings: Surroundings, target: Target, args: Json): void {
  checkShape(args, LIMITS.valueNesting, "The arguments object");
  checkSize(args, LIMITS.argumentBytes, "The arguments object");
  const found = misfit(surroundings, target, target.fn.args, args);
  if (found !== null) throw new FunctionError(`ArgumentValidationError: ${found}`);
}

function checkResult(surroundings: Surroundings, target: Target, value: Json): void {
  checkShape(value, LIMITS.valueNesting, "The return value");
  checkSize(value, LIMITS.resultBytes, "The return value");
  const found = target.fn.returns === null ? null : misfit(surroundings, target, target.fn.returns, value);
  if (found !== null) throw new FunctionError(`ReturnsValidationError: ${found}`);
}

function misfit({ tables }: Surroundings, { component }: Target, validator: ValidatorJson, value: Json): string | null {
  const namespace = tables.namespace(component.path);
  return mismatch(validator, value, (table, id) => namespace.owns(table, id));
}

/** The call as the function sees it that `from` calls. */
export function callInto(target: Target, from: Component, call: Call): Call {
  return target.component === from ? call : withoutIdentity(call);
}

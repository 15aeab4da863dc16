/**
 * Realms: fresh JavaScript globals in which functions run, one function at a time.
 *
 * A function has its realm for itself while it runs, so a syscall can only come from that function; globals that it
 * replaced are put back before the realm is used again.
 */
import { createRequire, isBuiltin } from "node:module";
import { constants, createContext, Script, type Context } from "node:vm";
import { MODULES_GLOBAL, type Bundle } from "./bundle.ts";
import { makeConsole } from "./console.ts";
import { FunctionError, messageOf } from "./errors.ts";
import { installed, type RealmKind } from "./globals.ts";
import type { Json } from "./values.ts";

/** What a running function may ask of the deployment. */
export interface Host {
  /** Milliseconds since the epoch, or null where the clock runs. */
  readonly now: number | null;
  random(): number;
  fillRandom(bytes: Uint8Array): void;
  uuid(): string;
  env(name: string): string | undefined;
  envNames(): string[];
  log(line: string): void;
  syscall(op: string, args: Json): string;
  asyncSyscall(op: string, args: Json): Promise<string>;
}

// Run inside the realm, where `Date` and `Math` are the realm's own.
const PRELUDE = new Script(`(host, frozen) => {
  const RealDate = Date;
  if (frozen) {
    const FrozenDate = function Date(...parts) {
      if (new.target === undefined) return new RealDate(host.now()).toString();
      return Reflect.construct(RealDate, parts.length === 0 ? [host.now()] : parts, new.target === FrozenDate ? RealDate : new.target);
    };
    FrozenDate.prototype = RealDate.prototype;
    FrozenDate.now = () => host.now();
    FrozenDate.parse = RealDate.parse;
    FrozenDate.UTC = RealDate.UTC;
    RealDate.prototype.constructor = FrozenDate;
    Object.defineProperty(globalThis, "Date", { value: FrozenDate, writable: true, configurable: true });
    Math.random = () => host.random();
  }
  return (message, data) => Object.assign(new Error(message), data === undefined ? {} : { data });
}`);

/** Globals that a function may replace for itself, as workflow engines do to be deterministic. */
const RESTORED = [
  "Date",
  "Math",
  "console",
  "process",
  "crypto",
  "Crypto",
  "CryptoKey",
  "SubtleCrypto",
  "fetch",
  "setTimeout",
  "setInterval",
  "Convex",
];

type ModuleExports = Record<string, unknown>;

export class Realm {
  /** The function that runs here now. */
  host: Host | null = null;
  readonly kind: RealmKind;
  private readonly context: Context;
  private readonly loaded = new Map<string, ModuleExports>();
  private readonly pristine: readonly (readonly [string, PropertyDescriptor | undefined])[];
  private readonly pristineRandom: () => number;
  private readonly makeError: (message: string, data: Json | undefined) => Error;

  constructor(bundle: Bundle, kind: RealmKind) {
    this.kind = kind;
    this.context = createContext(constants.DONT_CONTEXTIFY);
    const prelude = PRELUDE.runInContext(this.context) as (host: object, frozen: boolean) => Realm["makeError"];
    const clock = { now: () => this.host?.now ?? Date.now(), random: () => this.host?.random() ?? Math.random() };
    this.makeError = prelude(clock, kind === "transaction");
    this.define(installed(kind, this));
    this.define({
      Convex: this.convex(),
      console: makeConsole((line) => this.host?.log(line)),
      process: kind === "action" ? nodeProcess(this.environment()) : { env: this.environment() },
    });
    // Files that say "use node" count on these.
    if (kind === "action") this.define({ require: builtins, global: this.context });
    bundle.script.runInContext(this.context);
    this.pristine = RESTORED.map((name) => [name, Object.getOwnPropertyDescriptor(this.context, name)]);
    this.pristineRandom = this.math().random;
  }

  private define(globals: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(globals)) {
      Object.defineProperty(this.context, name, { value, writable: true, configurable: true, enumerable: false });
    }
  }

  private math(): Math {
    return (this.context as { Math: Math }).Math;
  }

  /** Evaluates a module, once, and returns what it exports. */
  load(path: string): ModuleExports {
    const known = this.loaded.get(path);
    if (known !== undefined) return known;
    const loaders = (this.context as Record<string, Record<string, () => ModuleExports>>)[MODULES_GLOBAL];
    const loader = loaders?.[path];
    if (loader === undefined) throw new FunctionError(`There is no module "${path}".`);
    const exports = loader();
    this.loaded.set(path, exports);
    return exports;
  }

  /** Puts the globals back that the last function replaced. */
  restore(): void {
    for (const [name, descriptor] of this.pristine) {
      const current = Object.getOwnPropertyDescriptor(this.context, name);
      if (current?.value === descriptor?.value) continue;
      if (descriptor === undefined) Reflect.deleteProperty(this.context, name);
      else Object.defineProperty(this.context, name, descriptor);
    }
    this.math().random = this.pristineRandom;
  }

  /** An error as code inside the realm expects it: of the realm's own Error class. */
  errorOf(error: unknown): Error {
    return this.makeError(messageOf(error), error instanceof FunctionError ? error.data : undefined);
  }

  private convex(): object {
    return {
      syscall: (op: string, args: string): string => {
        try {
          return this.running().syscall(op, JSON.parse(args) as Json);
        } catch (error) {
          throw this.errorOf(error);
        }
      },
      asyncSyscall: async (op: string, args: string): Promise<string> => {
        try {
          return await this.running().asyncSyscall(op, JSON.parse(args) as Json);
        } catch (error) {
          throw this.errorOf(error);
        }
      },
      jsSyscall: (op: string): never => {
        throw this.errorOf(new FunctionError(`${op} is not supported by this development server.`));
      },
    };
  }

  private running(): Host {
    if (this.host === null)
      throw new FunctionError("The function has already ended, or a module calls Convex while it is loaded.");
    return this.host;
  }

  private environment(): object {
    const get = (name: string | symbol): string | undefined =>
      typeof name === "string" ? this.host?.env(name) : undefined;
    return new Proxy(
      {},
      {
        get: (_, name) => get(name),
        has: (_, name) => get(name) !== undefined,
        ownKeys: () => this.host?.envNames() ?? [],
        getOwnPropertyDescriptor: (_, name) => {
          const value = get(name);
          return value === undefined ? undefined : { value, enumerable: true, configurable: true, writable: false };
        },
        set: () => false,
      },
    );
  }
}

const nodeRequire = createRequire(import.meta.url);

function builtins(name: string): unknown {
  if (!isBuiltin(name))
    throw new FunctionError(`Cannot load "${name}" at run time: only modules of Node itself are outside the bundle.`);
  return nodeRequire(name);
}

/** Node's `process` for actions, with the variables of the deployment, and without the power to end the server. */
function nodeProcess(env: object): object {
  const exit = (): never => {
    throw new FunctionError("process.exit() is not allowed in actions.");
  };
  return Object.create(process, { env: { value: env }, exit: { value: exit } }) as object;
}

/** Realms of one component; as many as functions ever ran at once. */
export class RealmPool {
  private readonly idle: Realm[] = [];
  private readonly bundle: Bundle;
  private readonly kind: RealmKind;

  constructor(bundle: Bundle, kind: RealmKind) {
    this.bundle = bundle;
    this.kind = kind;
  }

  take(host: Host | null): Realm {
    const realm = this.idle.pop() ?? new Realm(this.bundle, this.kind);
    realm.host = host;
    return realm;
  }

  /** Takes a realm back; work that its function left running finds that the function has ended. */
  give(realm: Realm): void {
    realm.host = null;
    realm.restore();
    // Promises that nobody awaited settle before the next function moves in.
    setImmediate(() => this.idle.push(realm));
  }
}

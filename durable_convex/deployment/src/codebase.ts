/** The functions of one component folder: bundled, evaluated once to learn what they are, and ready to run. */
import { bundleComponent, type Bundle } from "./bundle.ts";
import { FunctionError, SetupError, messageOf } from "./errors.ts";
import type { RealmKind } from "./globals.ts";
import { Realm, RealmPool, type Host } from "./realm.ts";
import { NO_SCHEMA, parseSchema, type Schema } from "./schema.ts";
import type { ValidatorJson } from "./validators.ts";

export type FunctionType = "query" | "mutation" | "action";

export interface FunctionInfo {
  /** E.g. "folder/file:name". */
  readonly name: string;
  readonly module: string;
  readonly exportName: string;
  readonly type: FunctionType;
  readonly isPublic: boolean;
  readonly args: ValidatorJson;
  readonly returns: ValidatorJson | null;
}

/** A registered function, as the runtime exports it. */
export interface Registered {
  isQuery?: boolean;
  isMutation?: boolean;
  isAction?: boolean;
  isPublic?: boolean;
  exportArgs(): string;
  exportReturns(): string;
  invokeQuery(args: string): Promise<string>;
  invokeMutation(args: string): Promise<string>;
  invokeAction(requestId: string, args: string): Promise<string>;
}

const TYPES: readonly (readonly [keyof Registered, FunctionType])[] = [
  ["isQuery", "query"],
  ["isMutation", "mutation"],
  ["isAction", "action"],
];

/** A host for modules that run outside any function. */
const NO_HOST: Host = {
  now: null,
  random: () => Math.random(),
  fillRandom: () => undefined,
  uuid: () => "",
  env: () => undefined,
  envNames: () => [],
  log: (line) => console.log(line),
  syscall: (op) => refuse(op),
  asyncSyscall: (op) => refuse(op),
};

function refuse(op: string): never {
  throw new FunctionError(`${op} cannot be called while a module is loaded.`);
}

/** Modules that configure a deployment and hold no functions. */
const CONFIGURATION = new Set(["schema", "auth.config"]);

export class Codebase {
  readonly bundle: Bundle;
  readonly functions: ReadonlyMap<string, FunctionInfo>;
  readonly schema: Schema;
  private readonly pools: Readonly<Record<RealmKind, RealmPool>>;

  constructor(bundle: Bundle) {
    this.bundle = bundle;
    this.pools = { transaction: new RealmPool(bundle, "transaction"), action: new RealmPool(bundle, "action") };
    this.functions = this.analyze();
    this.schema = this.has("schema")
      ? this.inspect("schema", (exports) => parseSchema(exportOf(exports["default"])))
      : NO_SCHEMA;
  }

  has(module: string): boolean {
    return this.bundle.modules.some(({ path }) => path === module);
  }

  pool(kind: RealmKind): RealmPool {
    return this.pools[kind];
  }

  /** Evaluates a module outside any function, and reads something from it. */
  inspect<T>(module: string, read: (exports: Record<string, unknown>, realm: Realm) => T): T {
    const kind = this.bundle.modules.find(({ path }) => path === module)?.node === true ? "action" : "transaction";
    const pool = this.pool(kind);
    const realm = pool.take(null);
    try {
      return read(realm.load(module), realm);
    } catch (error) {
      throw new SetupError(`The module "${module}" cannot be loaded: ${messageOf(error)}`);
    } finally {
      pool.give(realm);
    }
  }

  /**
   * Evaluates a module anew that configures the deployment, with environment variables.
   *
   * Raises:
   *   SetupError: It throws.
   */
  configuration<T>(
    module: string,
    env: (name: string) => string | undefined,
    read: (exports: Record<string, unknown>) => T,
  ): T {
    const realm = new Realm(this.bundle, "action");
    realm.host = { ...NO_HOST, env };
    try {
      return read(realm.load(module));
    } catch (error) {
      throw new SetupError(`The module "${module}" cannot be loaded: ${messageOf(error)}`);
    }
  }

  private analyze(): Map<string, FunctionInfo> {
    const functions = new Map<string, FunctionInfo>();
    for (const { path, node } of this.bundle.modules) {
      if (CONFIGURATION.has(path)) continue;
      this.inspect(path, (exports) => {
        for (const [exportName, value] of Object.entries(exports)) {
          const info = describe(path, exportName, value);
          if (info === null) continue;
          if (node && info.type !== "action")
            throw new SetupError(
              `"${info.name}" is a ${info.type}; a file that says "use node" may only define actions.`,
            );
          functions.set(info.name, info);
        }
      });
    }
    return functions;
  }
}

/** Bundles and evaluates a folder. */
export async function loadCodebase(directory: string): Promise<Codebase> {
  return new Codebase(await bundleComponent(directory));
}

function exportOf(value: unknown): string {
  return (value as { export(): string }).export();
}

function describe(module: string, exportName: string, value: unknown): FunctionInfo | null {
  if (typeof value !== "function") return null;
  const registered = value as unknown as Registered;
  const type = TYPES.find(([mark]) => registered[mark] === true)?.[1];
  if (type === undefined) return null;
  return {
    name: `${module}:${exportName}`,
    module,
    exportName,
    type,
    isPublic: registered.isPublic === true,
    args: JSON.parse(registered.exportArgs()) as ValidatorJson,
    returns: JSON.parse(registered.exportReturns()) as ValidatorJson | null,
  };
}

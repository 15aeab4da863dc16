/** The tree of components of an app, and how functions in it are addressed. */
import { loadCodebase, type Codebase, type FunctionInfo } from "./codebase.ts";
import { Definitions, type Definition, type EnvBinding } from "./definition.ts";
import { FunctionError, SetupError } from "./errors.ts";

export class Component {
  /** The names from the app down, joined by "/"; the app's is empty. */
  readonly path: string;
  readonly parent: Component | null;
  readonly code: Codebase;
  readonly env: ReadonlyMap<string, EnvBinding>;
  readonly mounts: ReadonlyMap<string, string>;
  readonly children = new Map<string, Component>();

  constructor(
    path: string,
    parent: Component | null,
    code: Codebase,
    env: ReadonlyMap<string, EnvBinding>,
    mounts: ReadonlyMap<string, string>,
  ) {
    this.path = path;
    this.parent = parent;
    this.code = code;
    this.env = env;
    this.mounts = mounts;
  }

  get isApp(): boolean {
    return this.parent === null;
  }

  /** This component and all below it. */
  *all(): Generator<Component> {
    yield this;
    for (const child of this.children.values()) yield* child.all();
  }

  /** The component at a path below this one; null if there is none. */
  at(path: string): Component | null {
    let found: Component | undefined = this;
    for (const name of path === "" ? [] : path.split("/")) found = found?.children.get(name);
    return found ?? null;
  }

  function(name: string): FunctionInfo | null {
    return this.code.functions.get(canonicalName(name)) ?? null;
  }
}

/** A function of a component. */
export interface Target {
  readonly component: Component;
  readonly fn: FunctionInfo;
}

/** "folder/file.js:name" is "folder/file:name", and a bare module means its default export. */
export function canonicalName(name: string): string {
  const [module = "", exportName = "default"] = name.split(":");
  return `${module.replace(/^\//, "").replace(/\.(js|ts)$/, "")}:${exportName}`;
}

/** Loads the app in `directory`, with components besides those of its `convex.config.ts` by name. */
export async function loadApp(directory: string, extra: ReadonlyMap<string, string>): Promise<Component> {
  const definitions = new Definitions();
  const codebases = new Map<string, Promise<Codebase>>();
  const codeOf = (folder: string): Promise<Codebase> => {
    let code = codebases.get(folder);
    if (code === undefined) codebases.set(folder, (code = loadCodebase(folder)));
    return code;
  };
  const grow = async (parent: Component, definition: Definition): Promise<void> => {
    for (const { name, directory: folder, env } of definition.children) {
      if (parent.children.has(name))
        throw new SetupError(`Two components are called "${name}"; give one of them another name.`);
      const below = await definitions.load(folder);
      const path = parent.path === "" ? name : `${parent.path}/${name}`;
      const child = new Component(path, parent, await codeOf(below.directory), env, below.mounts);
      parent.children.set(name, child);
      await grow(child, below);
    }
  };
  const definition = await definitions.load(directory);
  const app = new Component("", null, await codeOf(definition.directory), new Map(), definition.mounts);
  const added = [...extra].map(([name, folder]) => ({ name, directory: folder, env: new Map() }));
  await grow(app, { ...definition, children: [...definition.children, ...added] });
  return app;
}

export interface Address {
  name?: string;
  reference?: string;
  functionHandle?: string;
}

const HANDLE = "function://";

/** A handle: text that names a function wherever it is passed, also after a restart. */
export function handleOf({ component, fn }: Target): string {
  return HANDLE + Buffer.from(JSON.stringify([component.path, fn.name])).toString("base64url");
}

/**
 * Finds what a function of component `from` means by an address.
 *
 * Raises:
 *   FunctionError: There is no such function, or it is internal to another component.
 */
export function resolve(app: Component, from: Component, address: Address): Target {
  if (address.functionHandle !== undefined) return resolveHandle(app, address.functionHandle);
  if (address.reference !== undefined) return resolveReference(from, address.reference);
  const fn = from.function(address.name ?? "");
  if (fn === null) throw missing(address.name ?? "", from);
  return { component: from, fn };
}

function resolveHandle(app: Component, handle: string): Target {
  let path: string;
  let name: string;
  try {
    [path, name] = JSON.parse(Buffer.from(handle.slice(HANDLE.length), "base64url").toString("utf8")) as [
      string,
      string,
    ];
  } catch {
    throw new FunctionError(`"${handle}" is no function handle.`);
  }
  const component = app.at(path);
  const fn = component?.function(name) ?? null;
  if (component === null || fn === null) throw new FunctionError(`The function handle of "${name}" points to nothing.`);
  return { component, fn };
}

function resolveReference(from: Component, reference: string): Target {
  const [, kind, ...parts] = reference.split("/");
  const component = kind === "childComponent" ? from.children.get(parts.shift() ?? "") : from;
  if (component === undefined || (kind !== "childComponent" && kind !== "function")) {
    throw new FunctionError(
      `Component reference "${reference}" leads nowhere: is the component used in convex.config.ts?`,
    );
  }
  const name = kind === "function" ? parts.join("/") : `${parts.slice(0, -1).join("/")}:${parts.at(-1) ?? ""}`;
  const fn = component.function(name);
  if (fn === null || (component !== from && !fn.isPublic)) throw missing(name, component);
  return { component, fn };
}

export function missing(name: string, component: Component): FunctionError {
  const where = component.isApp ? "" : ` in component "${component.path}"`;
  return new FunctionError(
    `Could not find public function for '${name}'${where}. Did you forget to run \`npx convex dev\` or \`npx convex deploy\`?`,
  );
}

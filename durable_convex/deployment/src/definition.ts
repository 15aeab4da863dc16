/** Component definitions: evaluates `convex.config.ts`, and those of the components it uses, without a deployment. */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { build, type Plugin } from "esbuild";
import { OWN_MODULES } from "./places.ts";
import { SetupError, messageOf } from "./errors.ts";

const CONFIG = /(^|[\\/])convex\.config(\.[mc]?[jt]s)?$/;

export type EnvBinding =
  { readonly type: "value"; readonly value: string } | { readonly type: "envVar"; readonly name: string };

export interface ChildDefinition {
  readonly name: string;
  /** The folder of the component's functions. */
  readonly directory: string;
  readonly env: ReadonlyMap<string, EnvBinding>;
}

export interface Definition {
  /** The name a component gives itself; null for the app. */
  readonly name: string | null;
  readonly directory: string;
  readonly children: readonly ChildDefinition[];
  /** Where each HTTP prefix leads: the name of a child. */
  readonly mounts: ReadonlyMap<string, string>;
}

interface ExportedDefinition {
  name?: string;
  childComponents: { name: string; path: string; env: [string, EnvBinding][] | null }[];
  httpMounts: Record<string, string>;
}

/** Reads definitions, each folder once. */
export class Definitions {
  private readonly known = new Map<string, Promise<Definition>>();

  load(directory: string): Promise<Definition> {
    const folder = resolve(directory);
    let definition = this.known.get(folder);
    if (definition === undefined) this.known.set(folder, (definition = this.read(folder)));
    return definition;
  }

  private async read(directory: string): Promise<Definition> {
    const config = ["ts", "js", "mts", "mjs"]
      .map((suffix) => join(directory, `convex.config.${suffix}`))
      .find(existsSync);
    if (config === undefined) return { name: null, directory, children: [], mounts: new Map() };
    const exported = await this.evaluate(config);
    return {
      name: exported.name ?? null,
      directory,
      children: exported.childComponents.map(({ name, path, env }) => ({
        name,
        directory: path,
        env: new Map(env ?? []),
      })),
      mounts: new Map(Object.entries(exported.httpMounts).map(([prefix, target]) => [prefix, basename(target)])),
    };
  }

  private async evaluate(config: string): Promise<ExportedDefinition> {
    const { outputFiles } = await build({
      entryPoints: [config],
      bundle: true,
      write: false,
      format: "esm",
      platform: "browser",
      conditions: ["convex", "module"],
      nodePaths: [OWN_MODULES],
      plugins: [this.imports()],
      logLevel: "silent",
    });
    const source = Buffer.from(outputFiles[0]?.contents ?? new Uint8Array()).toString("base64");
    try {
      const module = (await import(`data:text/javascript;base64,${source}`)) as {
        default: { export(): ExportedDefinition };
      };
      return module.default.export();
    } catch (error) {
      throw new SetupError(`${config} cannot be evaluated: ${messageOf(error)}`);
    }
  }

  /** Replaces an imported component definition by its folder and name, as the command line tool of Convex does. */
  private imports(): Plugin {
    return {
      name: "component-definitions",
      setup: (bundle) => {
        bundle.onResolve({ filter: CONFIG }, async ({ path, resolveDir, importer, kind, pluginData }) => {
          if (importer === "" || pluginData === "own") return null;
          const found = await bundle.resolve(path, { resolveDir, importer, kind, pluginData: "own" });
          if (found.errors.length > 0) return { errors: found.errors };
          return { path: found.path, namespace: "component" };
        });
        bundle.onLoad({ filter: /.*/, namespace: "component" }, async ({ path }) => {
          const directory = dirname(path);
          const { name } = await this.load(directory);
          const stub = { componentDefinitionPath: directory, defaultName: name };
          return { contents: `export default ${JSON.stringify(stub)};`, loader: "js" };
        });
      },
    };
  }
}

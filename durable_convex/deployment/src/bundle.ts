/** Bundles the functions of one component with esbuild, as `npx convex dev` would. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { SourceMap } from "node:module";
import { Script } from "node:vm";
import { build } from "esbuild";
import { SetupError, messageOf } from "./errors.ts";
import { OWN_MODULES } from "./places.ts";

const SUFFIXES = [".ts", ".tsx", ".mts", ".js", ".jsx", ".mjs"];
const USE_NODE = /^\s*(?:\/\/[^\n]*\n|\/\*[\s\S]*?\*\/|\s)*["']use node["']/;

/** What the bundle leaves behind in a realm: its modules, each evaluated when it is first loaded. */
export const MODULES_GLOBAL = "__modules";

export interface SourceModule {
  /** The path in function names, e.g. "folder/file". */
  readonly path: string;
  readonly file: string;
  /** Whether the file says "use node". */
  readonly node: boolean;
}

export interface Bundle {
  readonly modules: readonly SourceModule[];
  readonly script: Script;
  readonly map: SourceMap;
  readonly filename: string;
}

/** Which files of a folder hold functions: the rules of the command line tool of Convex. */
export function sourceModules(directory: string): SourceModule[] {
  return walk(directory, directory)
    .map((file) => ({ file, path: withoutSuffix(relative(directory, file).split(sep).join("/")) }))
    .filter(({ path }) => path !== "")
    .map(({ file, path }) => ({ file, path, node: USE_NODE.test(readFileSync(file, "utf8")) }));
}

function walk(root: string, directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return isSkippedFolder(root, path, entry.name) ? [] : walk(root, path);
    return isSource(root, path, entry.name) ? [path] : [];
  });
}

function isSkippedFolder(root: string, path: string, name: string): boolean {
  if (name === "node_modules" || (directoryIs(root, path) && name === "_generated")) return true;
  // A folder with a definition of its own is a component, bundled for itself.
  return ["ts", "js"].some((suffix) => existsSync(join(path, `convex.config.${suffix}`)));
}

function directoryIs(root: string, path: string): boolean {
  return relative(root, path).split(sep).length === 1;
}

function isSource(root: string, path: string, name: string): boolean {
  if (!SUFFIXES.some((suffix) => name.endsWith(suffix)) || /^[.#]/.test(name) || relative(root, path).includes(" "))
    return false;
  if (name === "auth.config.ts" || name === "auth.config.js") return directoryIs(root, path);
  return (name.match(/\./g) ?? []).length === 1;
}

function withoutSuffix(path: string): string {
  const suffix = SUFFIXES.find((candidate) => path.endsWith(candidate)) ?? "";
  return path.slice(0, path.length - suffix.length);
}

/**
 * Bundles a component.
 *
 * Raises:
 *   SetupError: A file does not compile.
 */
export async function bundleComponent(directory: string): Promise<Bundle> {
  const modules = sourceModules(directory);
  const filename = `convex-functions:${directory}`;
  const code = await compile(directory, modules);
  const end = code.lastIndexOf("//# sourceMappingURL=");
  const map = JSON.parse(Buffer.from(code.slice(end).split("base64,")[1] ?? "", "base64").toString("utf8")) as object;
  return {
    modules,
    filename,
    script: new Script(code.slice(0, end), { filename }),
    map: new SourceMap(map as ConstructorParameters<typeof SourceMap>[0]),
  };
}

async function compile(directory: string, modules: readonly SourceModule[]): Promise<string> {
  const loaders = modules.map(({ path, file }) => `${JSON.stringify(path)}: () => require(${JSON.stringify(file)})`);
  try {
    const { outputFiles } = await build({
      stdin: { contents: `globalThis.${MODULES_GLOBAL} = {${loaders.join(",\n")}};`, resolveDir: directory },
      bundle: true,
      write: false,
      outfile: join(directory, "bundle.js"),
      format: "iife",
      // Files that say "use node" may import Node's modules; the realm refuses them to all others.
      platform: modules.some(({ node }) => node) ? "node" : "browser",
      target: "es2022",
      conditions: ["convex", "module"],
      nodePaths: [OWN_MODULES],
      sourcemap: "inline",
      sourcesContent: false,
      keepNames: true,
      logLevel: "silent",
    });
    return outputFiles[0]?.text ?? "";
  } catch (error) {
    throw new SetupError(`The functions in ${directory} do not compile: ${messageOf(error)}`);
  }
}

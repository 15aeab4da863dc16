// Compiles the sources beside this file and runs them: `node start.mjs --dir convex --data DIR --port 3210`.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const home = dirname(fileURLToPath(import.meta.url));

/** A digest of the sources: one compiled file for each state they were in. */
function digest() {
  const hash = createHash("sha256");
  for (const name of readdirSync(join(home, "src")).sort())
    hash.update(name).update(readFileSync(join(home, "src", name)));
  return hash.digest("hex").slice(0, 16);
}

async function compiled() {
  const cache = join(home, "node_modules", ".cache", "durable-deployment");
  const output = join(cache, `main-${digest()}.mjs`);
  if (existsSync(output)) return output;
  const { build } = await import("esbuild");
  mkdirSync(cache, { recursive: true });
  // Two servers may start at once: each compiles for itself, and the rename is atomic.
  const draft = join(cache, `draft-${process.pid}.mjs`);
  await build({
    entryPoints: [join(home, "src", "main.ts")],
    bundle: true,
    outfile: draft,
    platform: "node",
    target: "node20",
    format: "esm",
    packages: "external",
    sourcemap: "inline",
    logLevel: "error",
  });
  renameSync(draft, output);
  for (const name of readdirSync(cache)) {
    if (name.startsWith("main-") && join(cache, name) !== output) rmSync(join(cache, name), { force: true });
  }
  return output;
}

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 18)) {
  console.error(`The development server needs Node 20.18 or newer; this is ${process.version}.`);
  process.exit(1);
}
if (!existsSync(join(home, "node_modules", "esbuild"))) {
  console.error(`The packages of the development server are missing: run "npm ci --omit=dev" in ${home} first.`);
  process.exit(1);
}
process.env.DURABLE_DEPLOYMENT_HOME = home;
await import(pathToFileURL(await compiled()).href);

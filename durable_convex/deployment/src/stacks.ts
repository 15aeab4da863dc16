/** Errors of functions, as a development deployment tells them: with the places in the sources. */
import type { Bundle } from "./bundle.ts";
import { FunctionError } from "./errors.ts";
import type { Json } from "./values.ts";

const CONVEX_ERROR = Symbol.for("ConvexError");
const FRAMES_MAX = 8;

interface Thrown {
  name?: unknown;
  message?: unknown;
  stack?: unknown;
  data?: unknown;
}

/** Turns what a function threw into the error that its caller is told. */
export function thrownError(thrown: unknown, bundle: Bundle): FunctionError {
  if (thrown instanceof FunctionError) return thrown;
  if (typeof thrown !== "object" || thrown === null) return new FunctionError(`Uncaught ${String(thrown)}`);
  const { name, message, stack, data } = thrown as Thrown;
  const text = `Uncaught ${String(name ?? "Error")}: ${String(message ?? "")}${places(String(stack ?? ""), bundle)}`;
  // The runtime has encoded the data of a ConvexError as JSON text.
  if (CONVEX_ERROR in thrown) return new FunctionError(text, JSON.parse(String(data)) as Json);
  return new FunctionError(text);
}

function places(stack: string, bundle: Bundle): string {
  const frames = stack.split("\n").filter((line) => line.includes(bundle.filename));
  const told = frames.map((line) => placeOf(line, bundle)).filter((place) => place !== null);
  return told
    .slice(0, FRAMES_MAX)
    .map((place) => `\n${place}`)
    .join("");
}

/** One line of a stack in terms of the sources; null if it is inside the runtime. */
function placeOf(line: string, { filename, map }: Bundle): string | null {
  const found = /:(\d+):(\d+)\)?$/.exec(line);
  const called = /at (?:async )?(?!convex-functions:)(\S+) /.exec(line)?.[1] ?? "<anonymous>";
  if (found === null) return line.replace(filename, "");
  const entry = map.findEntry(Number(found[1]) - 1, Number(found[2]) - 1);
  if (!("originalSource" in entry)) return `    at ${called}`;
  if (/node_modules\/convex\//.test(entry.originalSource)) return null;
  return `    at ${called} (../${entry.originalSource}:${entry.originalLine + 1}:${entry.originalColumn})`;
}

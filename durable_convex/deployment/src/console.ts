/** The console of functions: what they say becomes log lines of their answer. */
import { inspect } from "node:util";

const LEVELS: Readonly<Record<string, string>> = {
  log: "LOG",
  info: "INFO",
  warn: "WARN",
  error: "ERROR",
  debug: "DEBUG",
  trace: "TRACE",
};
const LINES_MAX = 256;

/** Makes a console that hands each line to `write`, e.g. "[LOG] 'hello' { n: 1 }". */
export function makeConsole(write: (line: string) => void): Record<string, (...parts: unknown[]) => void> {
  const console: Record<string, (...parts: unknown[]) => void> = {};
  const started = new Map<string, number>();
  const counts = new Map<string, number>();
  for (const [method, level] of Object.entries(LEVELS)) {
    console[method] = (...parts) => write(`[${level}] ${parts.map((part) => inspect(part)).join(" ")}`);
  }
  const log = console["log"] as (...parts: unknown[]) => void;
  console["table"] = log;
  console["dir"] = (part) => log(part);
  console["group"] = log;
  console["groupEnd"] = () => undefined;
  console["assert"] = (holds, ...parts) => (holds ? undefined : console["error"]?.("Assertion failed", ...parts));
  console["time"] = (label = "default") => void started.set(String(label), Date.now());
  console["timeLog"] = (label = "default") =>
    log(`${String(label)}: ${Date.now() - (started.get(String(label)) ?? Date.now())}ms`);
  console["timeEnd"] = console["timeLog"];
  console["count"] = (label = "default") => {
    counts.set(String(label), (counts.get(String(label)) ?? 0) + 1);
    log(`${String(label)}: ${counts.get(String(label))}`);
  };
  return console;
}

/** Adds a line, unless there are so many that the platform would drop it. */
export function keepLine(lines: string[], line: string): void {
  if (lines.length < LINES_MAX) lines.push(line);
  else if (lines.length === LINES_MAX) lines.push("[ERROR] 'Log overflow: further lines are dropped.'");
}

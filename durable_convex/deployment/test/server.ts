/** Starts the development server as users do: as a process, by `start.mjs`. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { watch } from "node:fs";
import { onTestFinished } from "vitest";

const here = dirname(fileURLToPath(import.meta.url));
export const ADMIN_KEY = "development|test";

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "durable-convex-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export class Server {
  readonly url: string;
  private readonly process: ChildProcess;

  constructor(process: ChildProcess, url: string) {
    this.process = process;
    this.url = url;
  }

  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill(signal);
    await ended;
  }

  /** Posts to an endpoint; the status and the body as JSON, if it is. */
  async post(
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: any }> {
    const response = await fetch(this.url + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? null : JSON.parse(text) };
  }

  async admin(path: string, body: unknown): Promise<any> {
    const answer = await this.post(path, body, { Authorization: `Convex ${ADMIN_KEY}` });
    if (answer.status !== 200) throw new Error(JSON.stringify(answer));
    return answer.body;
  }

  /** The value a function returns; throws what went wrong. */
  async call(kind: "query" | "mutation" | "action" | "function", path: string, args: unknown = {}): Promise<any> {
    const { status, body } = await this.post(`/api/${kind}`, { path, args, format: "json" });
    if (status !== 200) throw new Error(`${status} ${body.code}`);
    if (body.status !== "success") throw new Error(body.errorMessage);
    return body.value;
  }

  query(path: string, args: unknown = {}): Promise<any> {
    return this.call("query", path, args);
  }

  mutation(path: string, args: unknown = {}): Promise<any> {
    return this.call("mutation", path, args);
  }
}

/** Starts a server on one of the apps beside this file; it is killed when the test ends. */
export async function start(app: string, options: readonly string[] = []): Promise<Server> {
  const ready = join(temporaryDirectory(), "ready.json");
  const argv = [
    "--dir",
    join(here, "apps", app, "convex"),
    "--port",
    "0",
    "--admin-key",
    ADMIN_KEY,
    "--ready-file",
    ready,
    ...options,
  ];
  const child = spawn(process.execPath, [join(here, "..", "start.mjs"), ...argv], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (output += text));
  onTestFinished(() => void child.kill("SIGKILL"));
  await new Promise<void>((resolve, reject) => {
    const watcher = watch(dirname(ready), () => existsSync(ready) && done());
    const done = (error?: Error): void => {
      watcher.close();
      if (error === undefined) resolve();
      else reject(error);
    };
    child.once("exit", (code) => done(new Error(`The server ended with ${code}:\n${output}`)));
  });
  return new Server(child, (JSON.parse(readFileSync(ready, "utf8")) as { url: string }).url);
}

/** Asks until the answer satisfies; the deadline is a test's last resort. */
export async function until<T>(
  ask: () => Promise<T>,
  satisfied: (answer: T) => boolean,
  deadlineMs = 100_000,
): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (satisfied(answer)) return answer;
    if (Date.now() > end) throw new Error(`Still ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

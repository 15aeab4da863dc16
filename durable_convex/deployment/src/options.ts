/** The command line. */
import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { NO_FAULTS, type FaultSettings } from "./faults.ts";
import { SetupError } from "./errors.ts";

export const USAGE = `Usage: node start.mjs --dir convex [options]

  --dir DIR              the folder of the functions (required)
  --data DIR             keep the data there; without it, everything is in memory
  --port PORT            3210 unless told; 0 takes a free one, which is printed
  --host HOST            127.0.0.1 unless told
  --component NAME=DIR   add a component that convex.config.ts does not use (repeatable)
  --env NAME=VALUE       set an environment variable of the deployment (repeatable)
  --env-file FILE        the same, from lines of NAME=VALUE
  --admin-key KEY        the admin key; without it, one is made and printed
  --name NAME            the name of the deployment
  --prod                 hide errors and logs from clients, as production does
  --concurrency N        mutations that run on one snapshot (16)
  --ready-file FILE      write {"url", "adminKey"} there as JSON when requests are served

Faults:
  --latency MS           delay each message, each way
  --lose-responses P     the chance that a mutation commits and its answer is lost
  --cut-sockets SECONDS  cut all sockets every so often
  --unavailable P        the chance of 503
  --too-many P           the chance of 429
  --chaos-occ P          the chance that a commit is refused as a conflict
  --overlap MS           let mutations wait so long for others to run at once with them
  --shuffle              commit the mutations of a batch in random order`;

export interface Options {
  readonly directory: string;
  readonly data: string | null;
  readonly port: number;
  readonly host: string;
  readonly components: ReadonlyMap<string, string>;
  readonly environment: ReadonlyMap<string, string>;
  readonly adminKey: string;
  /** Whether the key was made up here, so that it has to be told. */
  readonly adminKeyIsNew: boolean;
  readonly name: string;
  readonly production: boolean;
  readonly concurrency: number;
  readonly readyFile: string | null;
  readonly faults: FaultSettings;
}

/**
 * Reads the command line.
 *
 * Raises:
 *   SetupError: It cannot be understood.
 */
export function readOptions(argv: string[]): Options {
  const { values } = parse(argv);
  if (values.dir === undefined) throw new SetupError(`--dir is missing.\n\n${USAGE}`);
  const name = values.name ?? "development";
  return {
    directory: values.dir,
    data: values.data ?? null,
    port: number("port", values.port ?? "3210"),
    host: values.host ?? "127.0.0.1",
    components: pairs("component", values.component ?? []),
    environment: new Map([...fileVariables(values["env-file"]), ...pairs("env", values.env ?? [])]),
    adminKey: values["admin-key"] ?? `${name}|${randomBytes(24).toString("hex")}`,
    adminKeyIsNew: values["admin-key"] === undefined,
    name,
    production: values.prod === true,
    concurrency: Math.max(1, number("concurrency", values.concurrency ?? "16")),
    readyFile: values["ready-file"] ?? null,
    faults: {
      ...NO_FAULTS,
      latency: number("latency", values.latency ?? "0"),
      loseResponses: number("lose-responses", values["lose-responses"] ?? "0"),
      cutSockets: number("cut-sockets", values["cut-sockets"] ?? "0"),
      unavailable: number("unavailable", values.unavailable ?? "0"),
      tooMany: number("too-many", values["too-many"] ?? "0"),
      chaosOcc: number("chaos-occ", values["chaos-occ"] ?? "0"),
      overlap: number("overlap", values.overlap ?? "0"),
      shuffle: values.shuffle === true ? 1 : 0,
    },
  };
}

const TEXTS = [
  "dir",
  "data",
  "port",
  "host",
  "admin-key",
  "name",
  "concurrency",
  "ready-file",
  "env-file",
  "latency",
  "lose-responses",
  "cut-sockets",
  "unavailable",
  "too-many",
  "chaos-occ",
  "overlap",
] as const;

type Values = Partial<Record<(typeof TEXTS)[number], string>> & {
  component?: string[];
  env?: string[];
  prod?: boolean;
  shuffle?: boolean;
};

function parse(args: string[]): { values: Values } {
  try {
    const { values } = parseArgs({
      args,
      options: {
        ...Object.fromEntries(TEXTS.map((text) => [text, { type: "string" }] as const)),
        component: { type: "string", multiple: true },
        env: { type: "string", multiple: true },
        prod: { type: "boolean" },
        shuffle: { type: "boolean" },
      },
    });
    return { values: values as Values };
  } catch (error) {
    throw new SetupError(`${String(error)}\n\n${USAGE}`);
  }
}

function number(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0))
    throw new SetupError(`--${option} must be a number and not negative, not ${JSON.stringify(text)}.`);
  return value;
}

function pairs(option: string, texts: readonly string[]): Map<string, string> {
  return new Map(
    texts.map((text): [string, string] => {
      const equals = text.indexOf("=");
      if (equals < 1) throw new SetupError(`--${option} must look like NAME=VALUE, not ${JSON.stringify(text)}.`);
      return [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}

function fileVariables(path: string | undefined): Map<string, string> {
  if (path === undefined) return new Map();
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.trim());
  const assignments = lines.filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    [...pairs("env-file", assignments)].map(([name, value]) => [name, value.replace(/^(["'])(.*)\1$/, "$2")]),
  );
}

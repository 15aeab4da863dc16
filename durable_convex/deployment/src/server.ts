/** Puts the parts together: from the command line to a server that listens. */
import { writeFileSync, renameSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { Redaction } from "./answers.ts";
import { Authenticator } from "./auth.ts";
import { loadApp, type Component } from "./components.ts";
import { Control } from "./control.ts";
import { Crons } from "./crons.ts";
import { Database } from "./database.ts";
import { Deployment } from "./deployment.ts";
import { Disk } from "./disk.ts";
import { Environment } from "./environment.ts";
import { Executor } from "./executor.ts";
import { SetupError } from "./errors.ts";
import { Faults } from "./faults.ts";
import { Gateway } from "./gateway.ts";
import { HttpInterface } from "./http.ts";
import { HttpActions, HTTP_PREFIX } from "./http_actions.ts";
import type { Options } from "./options.ts";
import { own } from "./ownership.ts";
import { providersOf } from "./providers.ts";
import { Scheduler } from "./scheduler.ts";
import { SharedQueries } from "./shared_queries.ts";
import { Messages } from "./sync_messages.ts";
import { SyncInterface } from "./sync.ts";
import { Snapshots } from "./snapshots.ts";
import { checkDocuments, Upkeep } from "./upkeep.ts";

export interface Running {
  readonly url: string;
  readonly adminKey: string;
  readonly functions: number;
  close(): Promise<void>;
}

/**
 * Starts a deployment.
 *
 * Raises:
 *   SetupError: The functions cannot be loaded, or the data is damaged or does not match the schema, or the data or the
 *     port is another server's.
 */
export async function startServer(options: Options): Promise<Running> {
  const app = await loadApp(resolve(options.directory), options.components);
  const faults = new Faults(options.faults);
  const platform = new Map<string, string>();
  const owned = options.data === null ? null : await own(options.data);
  const deployment = openDeployment(app, options, faults, platform);
  await setVariables(deployment, options);
  const { server, sync } = openInterfaces(deployment, options, faults);
  const url = await listen(server, options);
  platform.set("CONVEX_CLOUD_URL", url).set("CONVEX_SITE_URL", url + HTTP_PREFIX);
  const work = [new Scheduler(deployment), new Upkeep(deployment), new Crons(deployment)];
  for (const worker of work) await worker.start();
  if (options.readyFile !== null) announce(options.readyFile, { url, adminKey: options.adminKey });
  return {
    url,
    adminKey: options.adminKey,
    functions: [...app.all()].reduce((count, component) => count + component.code.functions.size, 0),
    close: async () => {
      for (const worker of work) worker.stop();
      sync.close();
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
      await deployment.executor.query(async () => deployment.database.close());
      owned?.release();
    },
  };
}

function openDeployment(
  app: Component,
  options: Options,
  faults: Faults,
  platform: ReadonlyMap<string, string>,
): Deployment {
  const schemas = new Map([...app.all()].map((component) => [component.path, component.code.schema]));
  const database = new Database(schemas, options.data === null ? null : new Disk(options.data));
  checkDocuments(database.tables);
  const executor = new Executor(database, {
    concurrency: options.concurrency,
    chaos: () => faults.settings.chaosOcc,
    shuffle: () => Math.random() < faults.settings.shuffle,
    overlap: () => faults.settings.overlap,
    onDiskFailure: (error) => {
      console.error("Commits cannot be written to the disk; the server stops:", error);
      process.exit(1);
    },
  });
  const environment = new Environment(database.tables, platform);
  return new Deployment(
    { app, tables: database.tables, environment, deploymentName: options.name },
    database,
    executor,
  );
}

async function setVariables(deployment: Deployment, options: Options): Promise<void> {
  const given = [...options.environment].map(([name, value]) => ({ name, value }));
  if (given.length > 0)
    await deployment.transact((transaction) => deployment.surroundings.environment.apply(transaction, given));
}

/** The two ways in: HTTP, and sockets on the same port. */
function openInterfaces(
  deployment: Deployment,
  options: Options,
  faults: Faults,
): { server: Server; sync: SyncInterface } {
  const { app, environment } = deployment.surroundings;
  const gateway = new Gateway(deployment);
  const redaction = new Redaction(options.production);
  const authenticator = new Authenticator(options.adminKey, providersOf(app, environment));
  const { server } = new HttpInterface({
    gateway,
    authenticator,
    environment,
    redaction,
    faults,
    control: new Control(deployment, faults),
    snapshots: new Snapshots(gateway),
    httpActions: new HttpActions(gateway, redaction),
  });
  const queries = new SharedQueries();
  deployment.executor.onCommit((written) => queries.onCommit(written));
  const sync = new SyncInterface(
    { gateway, authenticator, queries, messages: new Messages(redaction), faults },
    server,
  );
  return { server, sync };
}

/** Begins to accept connections; returns the URL, with the port that was free if none was asked for. */
async function listen(server: Server, { port, host }: Options): Promise<string> {
  await new Promise<void>((listening, failed) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      failed(
        error.code === "EADDRINUSE" ? new SetupError(`Port ${port} is taken: name another one by --port.`) : error,
      ),
    );
    server.listen(port, host, listening);
  });
  return `http://${host}:${(server.address() as AddressInfo).port}`;
}

function announce(path: string, facts: object): void {
  writeFileSync(`${path}.new`, JSON.stringify(facts));
  renameSync(`${path}.new`, path);
}

/**
 * Many development servers in one process, for tests that want a fresh and empty one each: what lies below
 * `/d/NAME/` is a deployment of its own, made when it is first asked and dropped by `DELETE /d/NAME`. Its clock is
 * what the header `Standin-Now` of the last request said, in milliseconds; without it, the real one.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { resolve } from "node:path";
import { writeFileSync, renameSync } from "node:fs";
import { Redaction } from "../../../durable_convex/deployment/src/answers.ts";
import { Authenticator } from "../../../durable_convex/deployment/src/auth.ts";
import { loadApp, type Component } from "../../../durable_convex/deployment/src/components.ts";
import { Control } from "../../../durable_convex/deployment/src/control.ts";
import { Database } from "../../../durable_convex/deployment/src/database.ts";
import { Deployment } from "../../../durable_convex/deployment/src/deployment.ts";
import { Environment } from "../../../durable_convex/deployment/src/environment.ts";
import { Executor } from "../../../durable_convex/deployment/src/executor.ts";
import { Faults } from "../../../durable_convex/deployment/src/faults.ts";
import { Gateway } from "../../../durable_convex/deployment/src/gateway.ts";
import { HttpInterface } from "../../../durable_convex/deployment/src/http.ts";
import { HttpActions } from "../../../durable_convex/deployment/src/http_actions.ts";
import { readOptions, type Options } from "../../../durable_convex/deployment/src/options.ts";
import { Scheduler } from "../../../durable_convex/deployment/src/scheduler.ts";
import { SharedQueries } from "../../../durable_convex/deployment/src/shared_queries.ts";
import { Snapshots } from "../../../durable_convex/deployment/src/snapshots.ts";
import { SyncInterface } from "../../../durable_convex/deployment/src/sync.ts";
import { Messages } from "../../../durable_convex/deployment/src/sync_messages.ts";
import { Transaction } from "../../../durable_convex/deployment/src/transaction.ts";

const NAMED = /^\/d\/([^/]+)(\/.*)?$/;

/** Room for the documents of one transaction, in milliseconds; a 1024th is enough for each. */
const CREATIONS_MS = 4;

/** A database whose transactions begin at a time that is said; what is created later is younger even if time stands. */
class TimedDatabase extends Database {
  said: number | null = null;
  private youngest = 0;

  override begin(): Transaction {
    const now = this.said ?? Date.now();
    const transaction = new Transaction(this.tables, now, this.ts);
    this.youngest = Math.max(this.youngest + CREATIONS_MS, now);
    return Object.assign(transaction, { lastCreation: this.youngest });
  }
}

/** One deployment, without a port. */
class Instance {
  readonly server: Server;
  private readonly sync: SyncInterface;
  private readonly scheduler: Scheduler;
  private readonly database: TimedDatabase;
  readonly ready: Promise<void>;

  constructor(app: Component, options: Options) {
    const faults = new Faults(options.faults);
    this.database = new TimedDatabase(new Map([...app.all()].map((one) => [one.path, one.code.schema])), null);
    const { tables } = this.database;
    const executor = new Executor(this.database, {
      concurrency: options.concurrency,
      chaos: () => faults.settings.chaosOcc,
      shuffle: () => Math.random() < faults.settings.shuffle,
      overlap: () => faults.settings.overlap,
      onDiskFailure: (error) => { throw error; },
    });
    const environment = new Environment(tables, new Map());
    const deployment = new Deployment({ app, tables, environment, deploymentName: options.name }, this.database, executor);
    const gateway = new Gateway(deployment);
    const redaction = new Redaction(options.production);
    const authenticator = new Authenticator(options.adminKey, () => []);
    this.server = new HttpInterface({
      gateway, authenticator, environment, redaction, faults,
      control: new Control(deployment, faults),
      snapshots: new Snapshots(gateway),
      httpActions: new HttpActions(gateway, redaction),
    }).server;
    const queries = new SharedQueries();
    executor.onCommit((written) => queries.onCommit(written));
    this.sync = new SyncInterface({ gateway, authenticator, queries, messages: new Messages(redaction), faults }, this.server);
    this.scheduler = new Scheduler(deployment);
    this.ready = this.begin(deployment, options);
  }

  private async begin(deployment: Deployment, options: Options): Promise<void> {
    const given = [...options.environment].map(([name, value]) => ({ name, value }));
    const apply = () =>
      deployment.transact((transaction) => deployment.surroundings.environment.apply(transaction, given));
    for (let done = false; !done; ) {
      // Faults are there from the beginning, and this is nobody's test.
      done = await apply().then(() => true, () => false);
    }
    await this.scheduler.start();
  }

  hear(request: IncomingMessage): void {
    const said = request.headers["standin-now"];
    if (typeof said === "string") this.database.said = Number(said);
  }

  close(): void {
    this.scheduler.stop();
    this.sync.close();
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const app = await loadApp(resolve(options.directory), options.components);
  const instances = new Map<string, Instance>();

  /** The deployment that a request means, with the path changed to what it is called there. */
  function meant(request: IncomingMessage): [string, Instance] {
    const [, name = "", path = "/"] = NAMED.exec(request.url ?? "") ?? [null, "", request.url ?? "/"];
    let instance = instances.get(name);
    if (instance === undefined) instances.set(name, (instance = new Instance(app, options)));
    request.url = path;
    return [name, instance];
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === "DELETE") {
      const name = NAMED.exec(request.url ?? "")?.[1] ?? "";
      instances.get(name)?.close();
      instances.delete(name);
      response.end("{}");
      return;
    }
    const [, instance] = meant(request);
    await instance.ready;
    instance.hear(request);
    instance.server.emit("request", request, response);
  }

  async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const [, instance] = meant(request);
    await instance.ready;
    instance.server.emit("upgrade", request, socket, head);
  }

  process.on("unhandledRejection", (reason) => console.error("A promise was rejected:", reason));
  const server = createServer((request, response) => void answer(request, response));
  server.keepAliveTimeout = 60_000;
  server.on("upgrade", (request, socket, head) => void upgrade(request, socket, head));
  await new Promise<void>((listening) => server.listen(options.port, options.host, listening));
  const url = `http://${options.host}:${(server.address() as AddressInfo).port}`;
  if (options.readyFile !== null) {
    writeFileSync(`${options.readyFile}.new`, JSON.stringify({ url }));
    renameSync(`${options.readyFile}.new`, options.readyFile);
  }
  // Whoever has started us has gone: no test leaves a server behind.
  process.stdin.on("end", () => process.exit(0)).resume();
}

await main();

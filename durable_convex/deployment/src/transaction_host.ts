/** The syscalls of queries and mutations. */
import { attributesOf, type Call } from "./call.ts";
import { handleOf, resolve, type Address, type Target } from "./components.ts";
import { keepLine } from "./console.ts";
import { FunctionError } from "./errors.ts";
import { cancel, schedule, type ScheduleArgs } from "./jobs.ts";
import type { OwnLimits } from "./limits.ts";
import { readPage, Stream, type PageRequest, type SerializedQuery } from "./queries.ts";
import type { Random } from "./random.ts";
import type { Host } from "./realm.ts";
import { callInto, runFunction, type Surroundings } from "./runner.ts";
import { SCHEDULED, type Namespace } from "./tables.ts";
import { tableOf, Transaction } from "./transaction.ts";
import { encodeInteger, type Json, type JsonObject } from "./values.ts";

/** What all functions of one transaction share. */
export interface TransactionScope {
  readonly surroundings: Surroundings;
  readonly transaction: Transaction;
  readonly random: Random;
  /** In: where the page of a re-run query has to end. Out: where the page of this run ended. */
  journal: string | null;
}

type Syscall = (args: never) => string | Promise<string>;

const READABLE_SYSTEM_TABLES = new Set([SCHEDULED, "_storage"]);

export class TransactionHost implements Host {
  readonly now: number;
  private readonly scope: TransactionScope;
  private readonly target: Target;
  private readonly call: Call;
  private readonly namespace: Namespace;
  private readonly streams = new Map<number, Stream>();
  private streamsOpened = 0;
  private paginated = false;
  /** The function that was called last, while it runs: syscalls behind it wait, as the platform makes them. */
  private busy: Promise<unknown> | null = null;

  constructor(scope: TransactionScope, target: Target, call: Call) {
    this.scope = scope;
    this.target = target;
    this.call = call;
    this.now = scope.transaction.beganAt;
    this.namespace = scope.transaction.tables.namespace(target.component.path);
  }

  random(): number {
    return this.scope.random.next();
  }

  fillRandom(bytes: Uint8Array): void {
    this.scope.random.fill(bytes);
  }

  uuid(): string {
    return this.scope.random.uuid();
  }

  env(name: string): string | undefined {
    return this.scope.surroundings.environment.get(this.target.component, name, this.scope.transaction.reads);
  }

  envNames(): string[] {
    return this.scope.surroundings.environment.names(this.target.component);
  }

  log(line: string): void {
    keepLine(this.call.logLines, line);
  }

  syscall(op: string, args: Json): string {
    const found = this.immediate[op];
    if (found === undefined) throw new FunctionError(`Unknown operation ${op}`);
    return found(args as never);
  }

  asyncSyscall(op: string, args: Json): Promise<string> {
    const act = async (): Promise<string> => this.perform(op, args);
    if (this.busy === null && op !== "1.0/runUdf") return act();
    const turn = this.busy === null ? act() : this.busy.then(act, act);
    const settled = turn
      .catch(() => undefined)
      .then(() => {
        if (this.busy === settled) this.busy = null;
      });
    this.busy = settled;
    return turn;
  }

  private perform(op: string, args: Json): string | Promise<string> {
    const found =
      this.reading[op] ?? this.describing[op] ?? (this.target.fn.type === "mutation" ? this.writing[op] : undefined);
    if (found === undefined) throw new FunctionError(`Unknown async operation ${op}`);
    return found(args as never);
  }

  private readonly immediate: Readonly<Record<string, (args: never) => string>> = {
    "1.0/queryStream": ({ query }: { query: SerializedQuery }) => {
      checkTable(query);
      this.streamsOpened += 1;
      this.streams.set(this.streamsOpened, new Stream(this.scope.transaction, this.namespace, query));
      return `{"queryId":${this.streamsOpened}}`;
    },
    "1.0/queryCleanup": ({ queryId }: { queryId: number }) => {
      this.streams.delete(queryId);
      return "null";
    },
    "1.0/db/normalizeId": ({ table, idString }: { table: string; idString: string }) =>
      JSON.stringify({ id: this.namespace.owns(table, idString) ? idString : null }),
    "1.0/getSnapshotTs": () => JSON.stringify(encodeInteger(this.scope.transaction.snapshotTs)),
  };

  private readonly reading: Readonly<Record<string, Syscall>> = {
    "1.0/get": ({ id, isSystem, table: name }: { id: string; isSystem: boolean; table?: string }) => {
      const table = tableOf(this.namespace, id, name);
      if (table.name.startsWith("_") !== isSystem)
        throw new FunctionError(`Table "${table.name}" cannot be read here.`);
      return this.scope.transaction.get(table, id)?.json ?? "null";
    },
    "1.0/queryStreamNext": ({ queryId }: { queryId: number }) => {
      const document = this.streams.get(queryId)?.next() ?? null;
      return document === null ? '{"done":true,"value":null}' : `{"done":false,"value":${document.json}}`;
    },
    "1.0/queryPage": (request: PageRequest) => this.page(request),
    "1.0/count": ({ table }: { table: string }) => {
      const stream = new Stream(this.scope.transaction, this.namespace, {
        source: { type: "FullTableScan", tableName: table, order: "asc" },
        operators: [],
      });
      let count = 0;
      while (stream.next() !== null) count += 1;
      return String(count);
    },
    "1.0/runUdf": (args: RunArgs) => this.runOther(args),
  };

  private readonly describing: Readonly<Record<string, Syscall>> = {
    "1.0/getUserIdentity": () => JSON.stringify(attributesOf(this.call.identity)),
    "1.0/getTransactionMetrics": () => JSON.stringify(this.scope.transaction.meter.report()),
    "1.0/createFunctionHandle": (address: Address) => JSON.stringify(handleOf(this.find(address))),
    ...metadata(this),
  };

  private readonly writing: Readonly<Record<string, Syscall>> = {
    "1.0/insert": ({ table, value }: { table: string; value: JsonObject }) =>
      `{"_id":"${this.scope.transaction.insert(this.namespace, table, value)}"}`,
    "1.0/shallowMerge": ({ id, value, table }: WriteArgs) => {
      this.scope.transaction.patch(this.namespace, id, value, table);
      return "null";
    },
    "1.0/replace": ({ id, value, table }: WriteArgs) => {
      this.scope.transaction.replace(this.namespace, id, value, table);
      return "null";
    },
    "1.0/remove": ({ id, table }: Omit<WriteArgs, "value">) =>
      this.scope.transaction.remove(this.namespace, id, table).json,
    "1.0/schedule": (args: ScheduleArgs) =>
      JSON.stringify(
        schedule(this.scope.transaction, this.target.component.path, this.find(args), args.ts * 1000, args.args),
      ),
    "1.0/cancel_job": ({ id }: { id: string }) => {
      cancel(this.scope.transaction, this.target.component.path, id);
      return "null";
    },
  };

  private page(request: PageRequest): string {
    checkTable(request.query);
    if (!this.target.component.isApp) throw new FunctionError("paginate() is not supported in components.");
    if (this.paginated)
      throw new FunctionError(
        "This query or mutation function ran multiple paginated queries. Convex only supports a single paginated query in each function.",
      );
    this.paginated = true;
    // A re-run reads up to where the first run ended, so that neighbouring pages still fit together.
    const endCursor = request.endCursor ?? (this.target.fn.type === "query" ? this.scope.journal : null);
    const page = readPage(this.scope.transaction, this.namespace, { ...request, endCursor });
    this.scope.journal = page.continueCursor;
    const documents = page.documents.map(({ json }) => json).join(",");
    const rest = JSON.stringify({
      isDone: page.isDone,
      continueCursor: page.continueCursor,
      splitCursor: null,
      pageStatus: null,
    });
    return `{"page":[${documents}],${rest.slice(1)}`;
  }

  private async runOther(args: RunArgs): Promise<string> {
    const { transaction, surroundings } = this.scope;
    const target = this.find(args);
    const call = callInto(target, this.target.component, this.call);
    const { udfType } = args;
    if (udfType === "snapshotQuery") return this.runStale(target, call, args.args);
    if (udfType === "mutation" && this.target.fn.type === "query")
      throw new FunctionError("A query cannot run a mutation.");
    const savepoint = transaction.overlay.savepoint();
    try {
      const host = new TransactionHost({ ...this.scope, journal: null }, target, call);
      const run = (): Promise<Json> => runFunction(surroundings, target, udfType, args.args, host);
      return JSON.stringify(await transaction.meter.within(args.transactionLimits ?? {}, run));
    } catch (error) {
      transaction.overlay.rollback(savepoint);
      throw error;
    }
  }

  /** A query on the snapshot the mutation began with: it sees none of its writes, and causes no conflicts. */
  private async runStale(target: Target, call: Call, args: Json): Promise<string> {
    const { transaction: own, surroundings, random } = this.scope;
    const transaction = new Transaction(own.tables, own.beganAt, own.snapshotTs);
    const host = new TransactionHost({ surroundings, transaction, random, journal: null }, target, call);
    return JSON.stringify(await runFunction(surroundings, target, "query", args, host));
  }

  private find(address: Address): Target {
    return resolve(this.scope.surroundings.app, this.target.component, address);
  }

  /** For the syscalls that only tell about the call. */
  get about(): { target: Target; call: Call; deploymentName: string } {
    return { target: this.target, call: this.call, deploymentName: this.scope.surroundings.deploymentName };
  }
}

interface RunArgs extends Address {
  udfType: "query" | "mutation" | "snapshotQuery";
  args: Json;
  transactionLimits?: OwnLimits;
}

interface WriteArgs {
  id: string;
  value: JsonObject;
  table?: string;
}

function checkTable({ source }: SerializedQuery): void {
  const name = source.type === "FullTableScan" ? source.tableName : source.indexName;
  if (name.startsWith("_") && !READABLE_SYSTEM_TABLES.has(name.split(".")[0] ?? ""))
    throw new FunctionError(`There is no system table "${name}".`);
}

interface Describable {
  readonly about: { target: Target; call: Call; deploymentName: string };
}

/** The syscalls of `ctx.meta` that every kind of function has. */
export function metadata(host: Describable): Record<string, () => string> {
  return {
    "1.0/getFunctionMetadata": () => {
      const { component, fn } = host.about.target;
      return JSON.stringify({ name: fn.name, componentPath: component.path });
    },
    "1.0/getDeploymentMetadata": () => JSON.stringify({ name: host.about.deploymentName, region: null, class: "s16" }),
    "1.0/getRequestMetadata": () => {
      const { request, scheduledId, identity } = host.about.call;
      const authToken = identity.kind === "user" ? identity.token : null;
      const { ip, userAgent, id: requestId } = request;
      return JSON.stringify({ ip, userAgent, requestId, scheduledFunctionId: scheduledId, authToken });
    },
  };
}

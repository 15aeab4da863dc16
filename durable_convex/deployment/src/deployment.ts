/** The deployment: calls functions, on behalf of the HTTP interface, of sockets, of the scheduler and of actions. */
import { ActionHost, type ActionServices } from "./action_host.ts";
import type { Call, Outcome, QueryOutcome } from "./call.ts";
import type { Target } from "./components.ts";
import type { Database } from "./database.ts";
import { FunctionError } from "./errors.ts";
import type { Attempt, Committed, Executor } from "./executor.ts";
import { Random } from "./random.ts";
import { ReadSet } from "./reads.ts";
import { runFunction, type Surroundings } from "./runner.ts";
import type { Transaction } from "./transaction.ts";
import { TransactionHost, type TransactionScope } from "./transaction_host.ts";
import type { Json } from "./values.ts";

export class Deployment implements ActionServices {
  readonly surroundings: Surroundings;
  readonly database: Database;
  readonly executor: Executor;
  /** Calls from outside and by the scheduler; `reruns` are runs of subscribed queries, the first included. */
  readonly calls = { queries: 0, reruns: 0, mutations: 0, actions: 0 };

  constructor(surroundings: Surroundings, database: Database, executor: Executor) {
    this.surroundings = surroundings;
    this.database = database;
    this.executor = executor;
  }

  async runQuery(target: Target, args: Json, call: Call): Promise<Outcome> {
    this.calls.queries += 1;
    return this.executor.query(async () => (await this.queryNow(target, args, call, null)).outcome);
  }

  /** Runs a query at once; only for those who are inside `executor.query`. */
  async queryNow(target: Target, args: Json, call: Call, journal: string | null): Promise<QueryOutcome> {
    const scope = this.scope(this.database.begin(), journal);
    const outcome = await this.attempt(scope, target, "query", args, call);
    return { outcome, reads: scope.transaction.reads, journal: scope.journal };
  }

  async runMutation(target: Target, args: Json, call: Call): Promise<Outcome> {
    return (await this.mutate(target, args, call)).result;
  }

  /** Runs a mutation until it commits. `alongside` may write more into the same transaction, if the function succeeded. */
  mutate(
    target: Target,
    args: Json,
    call: Call,
    alongside?: (transaction: Transaction, outcome: Outcome) => void,
  ): Promise<Committed<Outcome>> {
    this.calls.mutations += 1;
    return this.executor.mutate(async (transaction) => {
      const outcome = await this.mutateIn(transaction, target, args, call);
      if (outcome.ok) alongside?.(transaction, outcome);
      return { commit: outcome.ok, result: outcome };
    });
  }

  /** Runs a mutation as part of a transaction, and takes its writes back if it throws. */
  async mutateIn(transaction: Transaction, target: Target, args: Json, call: Call): Promise<Outcome> {
    // A retry tells only its own lines.
    call.logLines.length = 0;
    const savepoint = transaction.overlay.savepoint();
    const outcome = await this.attempt(this.scope(transaction, null), target, "mutation", args, call);
    if (!outcome.ok) transaction.overlay.rollback(savepoint);
    return outcome;
  }

  private scope(transaction: Transaction, journal: string | null): TransactionScope {
    return { surroundings: this.surroundings, transaction, random: new Random(), journal };
  }

  private attempt(
    scope: TransactionScope,
    target: Target,
    type: "query" | "mutation",
    args: Json,
    call: Call,
  ): Promise<Outcome> {
    const host = new TransactionHost(scope, target, call);
    return outcomeOf(runFunction(this.surroundings, target, type, args, host), call);
  }

  runAction(target: Target, args: Json, call: Call): Promise<Outcome> {
    this.calls.actions += 1;
    const host = new ActionHost(this, target, call);
    return outcomeOf(runFunction(this.surroundings, target, "action", args, host), call);
  }

  async transact<T>(body: (transaction: Transaction) => T): Promise<T> {
    const run = async (transaction: Transaction): Promise<Attempt<T>> => ({ commit: true, result: body(transaction) });
    return (await this.executor.mutate(run)).result;
  }
}

/** What a query depends on that could not even be found: nothing. */
export function failedQuery(error: FunctionError): QueryOutcome {
  return { outcome: { ok: false, error, logLines: [] }, reads: new ReadSet(), journal: null };
}

async function outcomeOf(result: Promise<Json>, call: Call): Promise<Outcome> {
  try {
    return { ok: true, value: await result, logLines: call.logLines };
  } catch (error) {
    if (error instanceof FunctionError) return { ok: false, error, logLines: call.logLines };
    throw error;
  }
}

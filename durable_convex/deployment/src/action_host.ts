/** The syscalls of actions: they hold no transaction, and each function they call is one of its own. */
import { attributesOf, type Call, type Outcome } from "./call.ts";
import { handleOf, resolve, type Address, type Target } from "./components.ts";
import { keepLine } from "./console.ts";
import { FunctionError } from "./errors.ts";
import { cancel, schedule, type ScheduleArgs } from "./jobs.ts";
import { Random } from "./random.ts";
import type { Host } from "./realm.ts";
import { callInto, type Surroundings } from "./runner.ts";
import { metadata } from "./transaction_host.ts";
import type { Transaction } from "./transaction.ts";
import type { Json } from "./values.ts";

/** What actions need of the deployment. */
export interface ActionServices {
  readonly surroundings: Surroundings;
  runQuery(target: Target, args: Json, call: Call): Promise<Outcome>;
  runMutation(target: Target, args: Json, call: Call): Promise<Outcome>;
  runAction(target: Target, args: Json, call: Call): Promise<Outcome>;
  /** Runs `body` in a transaction of the deployment's own, again if it conflicts. */
  transact<T>(body: (transaction: Transaction) => T): Promise<T>;
}

type CallArgs = Address & { args: Json };

export class ActionHost implements Host {
  readonly now = null;
  private readonly services: ActionServices;
  private readonly target: Target;
  private readonly call: Call;
  private readonly dice = new Random();

  constructor(services: ActionServices, target: Target, call: Call) {
    this.services = services;
    this.target = target;
    this.call = call;
  }

  random(): number {
    return this.dice.next();
  }

  fillRandom(bytes: Uint8Array): void {
    this.dice.fill(bytes);
  }

  uuid(): string {
    return this.dice.uuid();
  }

  env(name: string): string | undefined {
    return this.services.surroundings.environment.get(this.target.component, name, null);
  }

  envNames(): string[] {
    return this.services.surroundings.environment.names(this.target.component);
  }

  log(line: string): void {
    keepLine(this.call.logLines, line);
  }

  syscall(op: string): string {
    throw new FunctionError(`Unknown operation ${op}`);
  }

  async asyncSyscall(op: string, args: Json): Promise<string> {
    const found = this.operations[op];
    if (found === undefined) throw new FunctionError(`Unknown async operation ${op}`);
    return found(args as never);
  }

  private readonly operations: Readonly<Record<string, (args: never) => string | Promise<string>>> = {
    "1.0/actions/query": (args: CallArgs) => this.run(args, "runQuery"),
    "1.0/actions/mutation": (args: CallArgs) => this.run(args, "runMutation"),
    "1.0/actions/action": (args: CallArgs) => this.run(args, "runAction"),
    "1.0/actions/schedule": async (args: ScheduleArgs) => {
      const target = this.find(args);
      const owner = this.target.component.path;
      return JSON.stringify(
        await this.services.transact((transaction) => schedule(transaction, owner, target, args.ts * 1000, args.args)),
      );
    },
    "1.0/actions/cancel_job": async ({ id }: { id: string }) => {
      await this.services.transact((transaction) => cancel(transaction, this.target.component.path, id));
      return "null";
    },
    "1.0/getUserIdentity": () => JSON.stringify(attributesOf(this.call.identity)),
    "1.0/createFunctionHandle": (address: Address) => JSON.stringify(handleOf(this.find(address))),
    ...metadata(this),
  };

  private async run(args: CallArgs, kind: "runQuery" | "runMutation" | "runAction"): Promise<string> {
    const target = this.find(args);
    const outcome = await this.services[kind](target, args.args, callInto(target, this.target.component, this.call));
    if (!outcome.ok) throw outcome.error;
    return JSON.stringify(outcome.value);
  }

  private find(address: Address): Target {
    return resolve(this.services.surroundings.app, this.target.component, address);
  }

  get about(): { target: Target; call: Call; deploymentName: string } {
    return { target: this.target, call: this.call, deploymentName: this.services.surroundings.deploymentName };
  }
}

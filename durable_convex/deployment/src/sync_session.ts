/** One socket of the sync protocol: a set of queries kept up to date, and functions called one after the other. */
import type { Authenticator } from "./auth.ts";
import { ANONYMOUS, attributesOf, type Call, type Identity, type Outcome } from "./call.ts";
import type { Target } from "./components.ts";
import { failedQuery } from "./deployment.ts";
import { FunctionError, messageOf, RequestError } from "./errors.ts";
import type { Faults } from "./faults.ts";
import { argumentsObject, type Gateway } from "./gateway.ts";
import { requestId } from "./random.ts";
import { mutateOnce } from "./sessions.ts";
import type { SharedQueries, SharedResult } from "./shared_queries.ts";
import { systemQuery } from "./system_queries.ts";
import { encodeTs } from "./snapshots.ts";
import type {
  AddQuery,
  Authenticate,
  ClientMessage,
  FunctionMessage,
  Messages,
  ModifyQuerySet,
  StateVersion,
} from "./sync_messages.ts";

export interface SessionParts {
  readonly gateway: Gateway;
  readonly authenticator: Authenticator;
  readonly queries: SharedQueries;
  readonly messages: Messages;
  readonly faults: Faults;
}

/** The socket, as the session uses it. */
export interface Wire {
  readonly ip: string | null;
  readonly userAgent: string | null;
  send(text: string): void;
  close(code: number, reason: string): void;
  /** Cuts the connection without a word. */
  cut(): void;
}

interface Subscription {
  readonly add: AddQuery;
  journal: string | null;
  shared: SharedResult | null;
  /** What the client was last told. */
  told: string | null;
}

const MUTATIONS_MAX = 1000;
const CLOSE_INTERNAL = 1011;
const CLOSE_TRY_AGAIN = 1013;

export class SyncSession {
  private readonly parts: SessionParts;
  private readonly wire: Wire;
  private readonly subscriptions = new Map<number, Subscription>();
  private readonly mutations: FunctionMessage[] = [];
  private mutating = false;
  private sessionId: string | null = null;
  private identity: Identity = ANONYMOUS;
  private version: StateVersion = { querySet: 0, identity: 0, ts: 0n };
  private wanted = { querySet: 0, identity: 0 };
  private removed: number[] = [];
  private updateWanted = false;
  private updating = false;
  private closed = false;
  private inbox: Promise<void> = Promise.resolve();

  constructor(parts: SessionParts, wire: Wire) {
    this.parts = parts;
    this.wire = wire;
  }

  /** Takes in a message; messages are handled in the order of their arrival. */
  receive(text: string): void {
    this.inbox = this.inbox
      .then(() => this.handle(JSON.parse(text) as ClientMessage))
      .catch((error: unknown) => this.fail(error));
  }

  end(): void {
    this.closed = true;
    for (const subscription of this.subscriptions.values()) this.release(subscription);
    this.subscriptions.clear();
  }

  private async handle(message: ClientMessage): Promise<void> {
    if (this.closed) return;
    switch (message.type) {
      case "Connect":
        return this.connect(message.sessionId, message.maxObservedTimestamp ?? null);
      case "Authenticate":
        return this.authenticate(message);
      case "ModifyQuerySet":
        return this.modifyQuerySet(message);
      case "Mutation":
        return this.enqueueMutation(message);
      case "Action":
        void this.act(message).catch((error: unknown) => this.fail(error));
        return;
      case "Event":
        return;
      default:
        throw new RequestError(
          400,
          "UnknownMessage",
          `There is no message of type ${JSON.stringify((message as { type: unknown }).type)}.`,
        );
    }
  }

  private connect(sessionId: string, observed: string | null): void {
    this.sessionId = sessionId;
    const latest = this.parts.gateway.deployment.database.ts;
    if (observed !== null && Buffer.from(observed, "base64").readBigUInt64LE(0) > latest) {
      throw new RequestError(
        400,
        "TimestampAhead",
        `The client has seen a commit after ${encodeTs(latest)}, the last one here: data was lost.`,
      );
    }
  }

  private async authenticate({ tokenType, value = "", baseVersion, impersonating }: Authenticate): Promise<void> {
    const { authenticator, messages } = this.parts;
    try {
      if (tokenType === "Admin")
        this.identity = {
          ...authenticator.admin(value),
          ...(impersonating ? { actingAs: impersonating } : {}),
        } as Identity;
      else this.identity = tokenType === "User" ? await authenticator.user(value) : ANONYMOUS;
    } catch (error) {
      this.wire.send(messages.authError(messageOf(error), baseVersion, true));
      this.wire.close(CLOSE_INTERNAL, "AuthError");
      return;
    }
    this.wanted.identity = baseVersion + 1;
    for (const subscription of this.subscriptions.values()) this.release(subscription);
    this.scheduleUpdate();
  }

  private modifyQuerySet({ baseVersion, newVersion, modifications }: ModifyQuerySet): void {
    if (baseVersion !== this.wanted.querySet) {
      throw new RequestError(
        400,
        "BaseVersionMismatch",
        `Base version ${baseVersion} passed up doesn't match the current version.`,
      );
    }
    for (const modification of modifications) {
      if (modification.type === "Add") {
        this.subscriptions.set(modification.queryId, {
          add: modification,
          journal: modification.journal ?? null,
          shared: null,
          told: null,
        });
      } else {
        const subscription = this.subscriptions.get(modification.queryId);
        if (subscription === undefined)
          throw new RequestError(400, "UnknownQuery", `There is no query ${modification.queryId} to remove.`);
        this.release(subscription);
        this.subscriptions.delete(modification.queryId);
        this.removed.push(modification.queryId);
      }
    }
    this.wanted.querySet = newVersion;
    this.scheduleUpdate();
  }

  private release(subscription: Subscription): void {
    subscription.shared?.unwatch(this.onStale);
    subscription.shared = null;
  }

  private readonly onStale = (): void => this.scheduleUpdate();

  private scheduleUpdate(): void {
    this.updateWanted = true;
    if (this.updating || this.closed) return;
    this.updating = true;
    void this.update()
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.updating = false;
        if (this.updateWanted) this.scheduleUpdate();
      });
  }

  /** Brings all queries to one moment, and tells the client what has changed. */
  private async update(): Promise<void> {
    const { deployment } = this.parts.gateway;
    await deployment.executor.query(async () => {
      this.updateWanted = false;
      if (this.closed || !this.tokenHolds()) return;
      const end: StateVersion = { ...this.wanted, ts: deployment.database.ts };
      const modifications = this.removed.map((queryId) => `{"type":"QueryRemoved","queryId":${queryId}}`);
      this.removed = [];
      for (const subscription of [...this.subscriptions.values()]) {
        if (subscription.shared?.isValid === true) continue;
        const change = await this.refresh(subscription);
        if (change !== null) modifications.push(change);
      }
      const start = this.version;
      this.version = end;
      this.wire.send(this.parts.messages.transition(start, end, modifications));
    });
  }

  private tokenHolds(): boolean {
    if (this.identity.kind !== "user" || Date.now() < this.identity.expiresAt) return true;
    this.wire.send(this.parts.messages.authError("Token expired", this.wanted.identity, false));
    this.wire.close(CLOSE_INTERNAL, "AuthError");
    return false;
  }

  /** Runs a query again; null if its result is what the client already has. */
  private async refresh(subscription: Subscription): Promise<string | null> {
    const { gateway, queries, messages } = this.parts;
    const { add } = subscription;
    const call = gateway.call({ identity: this.identity, request: this.about() });
    this.release(subscription);
    const key = JSON.stringify([
      add.componentPath ?? "",
      add.udfPath,
      add.args,
      this.identity.kind,
      attributesOf(this.identity),
      subscription.journal,
    ]);
    const shared = await queries.get(key, async () => {
      try {
        const own =
          this.identity.kind === "admin"
            ? systemQuery(gateway.deployment.surroundings.environment, add.udfPath, argumentsObject(add.args))
            : null;
        if (own !== null) return own;
        const target = this.find(add);
        gateway.deployment.calls.reruns += 1;
        return await gateway.deployment.queryNow(target, argumentsObject(add.args), call, subscription.journal);
      } catch (error) {
        if (error instanceof FunctionError) return failedQuery(error);
        throw error;
      }
    });
    shared.watch(this.onStale);
    subscription.shared = shared;
    const { outcome, journal } = shared.query;
    subscription.journal = journal;
    const body = messages.queryBody(outcome, journal, call.request.id);
    const told = outcome.ok ? body : String(outcome.error.message);
    if (told === subscription.told) return null;
    subscription.told = told;
    return messages.queryModification(add.queryId, outcome, body);
  }

  private find({ udfPath, componentPath }: { udfPath: string; componentPath?: string | null }): Target {
    return this.parts.gateway.find({ path: udfPath, componentPath: componentPath ?? null, args: null }, this.identity);
  }

  private about(): Call["request"] {
    return { id: requestId(), ip: this.wire.ip, userAgent: this.wire.userAgent };
  }

  private enqueueMutation(message: FunctionMessage): void {
    if (this.mutations.length >= MUTATIONS_MAX) {
      throw new RequestError(
        429,
        "TooManyConcurrentMutations",
        `Only up to ${MUTATIONS_MAX} pending mutations allowed on a single websocket.`,
      );
    }
    this.mutations.push(message);
    if (!this.mutating) void this.drainMutations().catch((error: unknown) => this.fail(error));
  }

  private async drainMutations(): Promise<void> {
    this.mutating = true;
    try {
      for (
        let message = this.mutations.shift();
        message !== undefined && !this.closed;
        message = this.mutations.shift()
      )
        await this.mutate(message);
    } finally {
      this.mutating = false;
    }
  }

  private async mutate(message: FunctionMessage): Promise<void> {
    const { faults, messages, gateway } = this.parts;
    faults.admit();
    const call = gateway.call({ identity: this.identity, request: this.about() });
    const request = { session: this.sessionId ?? call.request.id, request: message.requestId };
    const { result, ts } = await this.attempt(message, (target) =>
      mutateOnce(gateway.deployment, target, argumentsObject(message.args), call, request),
    );
    if (faults.losesResponse()) return this.wire.cut();
    this.wire.send(messages.response("Mutation", message.requestId, result, ts, call.request.id));
    this.scheduleUpdate();
  }

  private async attempt(
    message: FunctionMessage,
    run: (target: Target) => Promise<{ result: Outcome; ts: bigint }>,
  ): Promise<{ result: Outcome; ts: bigint }> {
    try {
      return await run(this.find(message));
    } catch (error) {
      if (!(error instanceof FunctionError)) throw error;
      return { result: { ok: false, error, logLines: [] }, ts: 0n };
    }
  }

  private async act(message: FunctionMessage): Promise<void> {
    const { faults, messages, gateway } = this.parts;
    faults.admit();
    const call = gateway.call({ identity: this.identity, request: this.about() });
    const { result } = await this.attempt(message, async (target) => ({
      result: await gateway.deployment.runAction(target, argumentsObject(message.args), call),
      ts: 0n,
    }));
    this.wire.send(messages.response("Action", message.requestId, result, null, call.request.id));
    this.scheduleUpdate();
  }

  /** What the client could not have caused is told by closing the socket, as the backend does. */
  private fail(error: unknown): void {
    if (this.closed) return;
    if (error instanceof RequestError && error.status < 500 && error.status !== 429) {
      this.wire.send(this.parts.messages.fatalError(`${error.code}: ${error.message}`));
      this.wire.close(CLOSE_INTERNAL, error.code);
    } else if (error instanceof RequestError) {
      this.wire.close(CLOSE_TRY_AGAIN, error.code);
    } else {
      console.error("Internal error:", error);
      this.wire.close(CLOSE_INTERNAL, "InternalServerError");
    }
  }
}

/** Mutations of sockets, each applied once: a client that reconnects says them again under the same numbers. */
import type { Call, Outcome } from "./call.ts";
import type { Target } from "./components.ts";
import type { Deployment } from "./deployment.ts";
import type { Committed } from "./executor.ts";
import { newId } from "./ids.ts";
import { ABOVE, keyOf } from "./sortkey.ts";
import { SESSIONS } from "./tables.ts";
import type { Transaction } from "./transaction.ts";
import type { Json } from "./values.ts";

export interface SessionRequest {
  readonly session: string;
  readonly request: number;
}

/** Runs a mutation unless this request of this session has already committed; then answers what it answered. */
export function mutateOnce(
  deployment: Deployment,
  target: Target,
  args: Json,
  call: Call,
  request: SessionRequest,
): Promise<Committed<Outcome>> {
  return deployment.executor.mutate<Outcome>(async (transaction) => {
    const known = recall(transaction, request);
    if (known !== null) return { commit: false, result: { ok: true, value: known.value, logLines: [] } };
    const outcome = await deployment.mutateIn(transaction, target, args, call);
    if (outcome.ok) remember(transaction, request, outcome.value);
    return { commit: outcome.ok, result: outcome };
  });
}

function recall(transaction: Transaction, { session, request }: SessionRequest): { value: Json } | null {
  const index = transaction.tables.namespace("").table(SESSIONS).index("by_request");
  if (index === null) throw new Error("the table of session requests has no index by request");
  const low = keyOf(session) + keyOf(request);
  const high = low + ABOVE;
  // A second copy of the request in the same batch has to conflict with the first.
  transaction.reads.add(index, { low, high });
  const found = index.documents.next(low, true);
  return found === undefined || found[0] >= high ? null : { value: found[1].value["value"] as Json };
}

function remember(transaction: Transaction, { session, request }: SessionRequest, value: Json): void {
  const table = transaction.tables.namespace("").table(SESSIONS);
  transaction.putSystem(table, newId(table.number), { session, request, value });
}

/** Operator verbs: each a transition of the state graph, carried out once per request. */
import { append } from "./journal";
import { consumePauses, send, unreadPauses } from "./messages";
import { copied } from "./payloads";
import type { Row, Tx } from "./rows";
import {
  add,
  clearBlocked,
  end,
  hold,
  nextGeneration,
  raiseEpoch,
  revive,
  setInput,
  setRewind,
  takeAway,
  tellParent,
} from "./runs";
import type { Bytes, Control, Status, Verb } from "./values";

type Outcome = "done" | "asked" | "already" | "not_found" | "not_allowed" | "exists";

export interface Controlled {
  outcome: Outcome;
  status: Status | null;
  generation: number;
}

export async function control(tx: Tx, asked: Control): Promise<Controlled> {
  const row = await tx.row(asked.run);
  if (row === null) return { outcome: "not_found", status: null, generation: 0 };
  const answered = await tx.db
    .query("requests")
    .withIndex("by_request", (q) => q.eq("key", row.key).eq("request", asked.request_id))
    .unique();
  if (answered !== null) {
    return { outcome: answered.outcome as Outcome, status: answered.status, generation: answered.generation };
  }
  const outcome = await carryOut(tx, row, asked.verb, asked.request_id);
  const { status, generation } = row.run;
  await tx.db.insert("requests", { key: row.key, request: asked.request_id, outcome, status, generation });
  return { outcome, status, generation };
}

async function carryOut(tx: Tx, row: Row, verb: Verb, request: string): Promise<Outcome> {
  switch (verb.is) {
    case "Cancel":
      return await cancel(tx, row, verb);
    case "Terminate":
      return await terminate(tx, row, verb);
    case "Pause":
      return await pause(tx, row, request);
    case "Resume":
      return await resume(tx, row);
    case "Retry":
      return await retry(tx, row, verb.order);
    case "Fork":
      return await fork(tx, row, verb);
    case "Settle":
      return await settle(tx, row, verb);
  }
}

async function cancel(tx: Tx, row: Row, verb: Extract<Verb, { is: "Cancel" }>): Promise<Outcome> {
  const { run, task } = row;
  if (row.ended) return run.status === "cancelled" ? "already" : "not_allowed";
  const unbegun = run.status === "pending" && run.startedAt === undefined;
  if (task.epoch === 0 || unbegun || run.status === "blocked") {
    await endNow(tx, row, verb.reason, verb.outcome);
    return "done";
  }
  const id = `cancel/${run.generation}`;
  const sent = await send(tx, { run: run.id, id, kind: "cancel", name: "", payload: verb.payload }, true);
  if (sent === "duplicate") return "already";
  if (run.status === "paused") hold(row, "waiting", tx.now);
  return "asked";
}

async function terminate(tx: Tx, row: Row, verb: Extract<Verb, { is: "Terminate" }>): Promise<Outcome> {
  if (row.ended) return row.run.status === "cancelled" ? "already" : "not_allowed";
  raiseEpoch(row);
  row.run.terminated = true;
  await endNow(tx, row, verb.reason, verb.outcome);
  return "done";
}

/** The store ends the run itself. Always closing: only a worker can tell whether anything is left to close. */
async function endNow(tx: Tx, row: Row, reason: string, outcome: Bytes): Promise<void> {
  const endedAt = Math.max(tx.now, row.task.at);
  await end(tx, row, { status: "cancelled", outcome, error: reason, endedAt, closing: true });
  await tellParent(tx, row, outcome);
}

async function pause(tx: Tx, row: Row, request: string): Promise<Outcome> {
  const { run, task } = row;
  if (row.ended || run.status === "blocked") return "not_allowed";
  if (run.status === "paused" || (await unreadPauses(tx, row)).length > 0) return "already";
  if (task.owner === undefined) {
    hold(row, "paused", undefined);
    return "done";
  }
  await send(tx, { run: run.id, id: `pause/${request}`, kind: "pause", name: "", payload: "" }, true);
  return "asked";
}

async function resume(tx: Tx, row: Row): Promise<Outcome> {
  const { run, task } = row;
  if (row.ended) return "not_allowed";
  if (run.status === "paused" || run.status === "blocked") {
    clearBlocked(row);
    task.strikes = 0;
    hold(row, task.epoch === 0 ? "pending" : "waiting", tx.now);
    return "done";
  }
  return (await consumePauses(tx, row)) > 0 ? "done" : "already";
}

async function retry(tx: Tx, row: Row, order: Bytes): Promise<Outcome> {
  if (!row.ended) return "not_allowed";
  takeAway(row);
  await consumePauses(tx, row); // they were meant for the generation that has ended
  nextGeneration(row);
  await revive(tx, row);
  row.task.strikes = 0;
  await setRewind(tx, row, order);
  row.run.closing = true;
  row.task.dueAt = tx.now;
  return "done";
}

async function fork(tx: Tx, row: Row, verb: Extract<Verb, { is: "Fork" }>): Promise<Outcome> {
  if ((await tx.row(verb.new.id)) !== null) return "exists";
  const { run } = row;
  const { seed, digest } = run;
  const version = verb.new.version ?? run.version;
  const made = await add(tx, { ...verb.new, version, input: "", seed, digest });
  await setInput(tx, made, "");
  made.run.input = await copied(tx.db, made.key, run.input);
  await setRewind(tx, made, verb.order);
  made.run.startedAt = run.startedAt;
  if (run.startedAt !== undefined) made.task.at = run.startedAt;
  return "done";
}

async function settle(tx: Tx, row: Row, verb: Extract<Verb, { is: "Settle" }>): Promise<Outcome> {
  const { run, task } = row;
  if (run.status !== "blocked" || run.rewind !== undefined || verb.position !== task.position) return "not_allowed";
  task.at = Math.max(tx.now, task.at);
  const { seq } = task;
  task.seq = SETTLED_SEQ;
  await append(tx, row, [verb.entry]);
  task.seq = seq;
  task.strikes = 0;
  clearBlocked(row);
  hold(row, "waiting", tx.now);
  return "done";
}

/** No commit has this seq, so the entry is taken for no commit's stamp. */
const SETTLED_SEQ = -1;

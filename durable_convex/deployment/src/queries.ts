/** Database queries of functions: from the serialized query to documents, one by one or by the page. */
import { createHash } from "node:crypto";
import type { StoredDocument } from "./documents.ts";
import { FunctionError } from "./errors.ts";
import { passes } from "./filters.ts";
import type { Entry, Index } from "./indexes.ts";
import { ABOVE, after, keyOf } from "./sortkey.ts";
import type { Namespace } from "./tables.ts";
import type { Order, Range, Transaction } from "./transaction.ts";
import type { Json } from "./values.ts";

interface RangeExpression {
  type: "Eq" | "Gt" | "Gte" | "Lt" | "Lte";
  fieldPath: string;
  value: Json;
}

export interface SerializedQuery {
  source:
    | { type: "FullTableScan"; tableName: string; order: Order | null }
    | { type: "IndexRange"; indexName: string; range: RangeExpression[]; order: Order | null }
    | { type: "Search"; indexName: string };
  operators: ({ filter: Json } | { limit: number })[];
}

interface Plan {
  readonly index: Index;
  readonly low: string;
  readonly high: string;
  readonly order: Order;
}

function plan(namespace: Namespace, { source }: SerializedQuery): Plan {
  if (source.type === "Search") throw new FunctionError("Search indexes are not supported by this development server.");
  if (source.type === "FullTableScan") {
    return { index: namespace.table(source.tableName).byCreation, low: "", high: ABOVE, order: source.order ?? "asc" };
  }
  const dot = source.indexName.indexOf(".");
  const index = namespace.table(source.indexName.slice(0, dot)).index(source.indexName.slice(dot + 1));
  if (index === null) throw new FunctionError(`Index ${source.indexName} not found.`);
  return { index, ...bounds(index, source.range, source.indexName), order: source.order ?? "asc" };
}

/** The keys of a range: equalities on the first fields, then at most one lower and one upper bound on the next one. */
function bounds(index: Index, range: readonly RangeExpression[], name: string): { low: string; high: string } {
  let prefix = "";
  let position = 0;
  let low: string | null = null;
  let high: string | null = null;
  for (const { type, fieldPath, value } of range) {
    if (fieldPath !== index.fields[position]) throw misuse(name, index, fieldPath);
    const key = prefix + keyOf(value);
    if (type === "Eq") {
      if (low !== null || high !== null) throw misuse(name, index, fieldPath);
      prefix = key;
      position += 1;
    } else if (type === "Gt" || type === "Gte") {
      if (low !== null) throw misuse(name, index, fieldPath);
      low = type === "Gt" ? key + ABOVE : key;
    } else {
      if (high !== null) throw misuse(name, index, fieldPath);
      high = type === "Lt" ? key : key + ABOVE;
    }
  }
  return { low: low ?? prefix, high: high ?? prefix + ABOVE };
}

function misuse(name: string, index: Index, field: string): FunctionError {
  return new FunctionError(
    `Tried to query index ${name} in a way it cannot serve, at field "${field}". Its fields are ` +
      `${JSON.stringify(index.fields)}: name them in this order, with .eq() on all but the last one named.`,
  );
}

/** Whether a document passes the query's filters, and whether its limits let another one through. */
class Operators {
  private readonly operators: readonly ({ filter: Json } | { limit: number; left: number })[];

  constructor(operators: SerializedQuery["operators"]) {
    this.operators = operators.map((operator) =>
      "limit" in operator ? { limit: operator.limit, left: operator.limit } : operator,
    );
  }

  get exhausted(): boolean {
    return this.operators.some((operator) => "left" in operator && operator.left <= 0);
  }

  accept(document: StoredDocument): boolean {
    for (const operator of this.operators) {
      if ("filter" in operator) {
        if (!passes(operator.filter, document.value)) return false;
      } else {
        operator.left -= 1;
      }
    }
    return true;
  }
}

/** A query that is read with `for await`, `.take()`, `.first()` and their like. */
export class Stream {
  private readonly range: Range;
  private readonly operators: Operators;

  constructor(transaction: Transaction, namespace: Namespace, query: SerializedQuery) {
    const { index, low, high, order } = plan(namespace, query);
    this.range = transaction.range(index, low, high, order);
    this.operators = new Operators(query.operators);
  }

  next(): StoredDocument | null {
    while (!this.operators.exhausted) {
      const entry = this.range.next();
      if (entry === null) return null;
      if (this.operators.accept(entry[1])) return entry[1];
    }
    return null;
  }
}

export interface PageRequest {
  query: SerializedQuery;
  cursor: string | null;
  endCursor: string | null;
  pageSize: number;
  maximumRowsRead?: number | null;
}

export interface Page {
  readonly documents: readonly StoredDocument[];
  readonly isDone: boolean;
  readonly continueCursor: string;
}

const ROWS_READ_MAX = 16_384;

/** One page of `.paginate()`. */
export function readPage(transaction: Transaction, namespace: Namespace, request: PageRequest): Page {
  const planned = plan(namespace, request.query);
  const fingerprint = fingerprintOf(request.query);
  const narrowed = narrow(
    planned,
    parseCursor(request.cursor, fingerprint),
    parseCursor(request.endCursor, fingerprint),
  );
  if (narrowed === null) return { documents: [], isDone: true, continueCursor: cursorText(END, fingerprint) };
  const { low, high } = narrowed;
  const range = transaction.range(planned.index, low, high, planned.order);
  const operators = new Operators(request.query.operators);
  const rows = request.maximumRowsRead ?? ROWS_READ_MAX;
  const documents: StoredDocument[] = [];
  let last: Entry | null = null;
  for (let read = 0; read < rows; read++) {
    if (operators.exhausted) return endOf(documents, true, END, fingerprint);
    // With an end cursor the page holds everything up to it, however much has been inserted since.
    if (request.endCursor === null && documents.length >= request.pageSize) break;
    const entry = range.next();
    if (entry === null)
      return endOf(
        documents,
        isEnd(request.endCursor, fingerprint),
        endKey(request.endCursor, fingerprint),
        fingerprint,
      );
    last = entry;
    if (operators.accept(entry[1])) documents.push(entry[1]);
  }
  return endOf(documents, false, last === null ? startKey(request.cursor, fingerprint) : last[0], fingerprint);
}

// The end of the table; null is its beginning, and any other text is the key of the last document read.
const END = Symbol("end");
type Position = string | typeof END | null;

function endOf(documents: StoredDocument[], isDone: boolean, position: Position, fingerprint: string): Page {
  return { documents, isDone, continueCursor: cursorText(position, fingerprint) };
}

function isEnd(endCursor: string | null, fingerprint: string): boolean {
  return endCursor === null || parseCursor(endCursor, fingerprint) === END;
}

function endKey(endCursor: string | null, fingerprint: string): Position {
  return endCursor === null ? END : parseCursor(endCursor, fingerprint);
}

function startKey(cursor: string | null, fingerprint: string): Position {
  return parseCursor(cursor, fingerprint);
}

function narrow({ low, high, order }: Plan, from: Position, to: Position): { low: string; high: string } | null {
  if (from === END) return null;
  let [bottom, top] = [low, high];
  if (typeof from === "string") [bottom, top] = order === "asc" ? [after(from), top] : [bottom, from];
  if (typeof to === "string") [bottom, top] = order === "asc" ? [bottom, after(to)] : [to, top];
  return { low: bottom, high: top };
}

function fingerprintOf(query: SerializedQuery): string {
  return createHash("sha256").update(JSON.stringify(query)).digest("base64url").slice(0, 8);
}

function cursorText(position: Position, fingerprint: string): string {
  const key =
    position === END
      ? "end"
      : position === null
        ? "start"
        : `at${Buffer.from(position, "latin1").toString("base64url")}`;
  return `${fingerprint}.${key}`;
}

function parseCursor(cursor: string | null, fingerprint: string): Position {
  if (cursor === null) return null;
  const [origin, key] = cursor.split(".");
  if (origin !== fingerprint || key === undefined) {
    throw new FunctionError(
      "InvalidCursor: the cursor does not belong to this query, with these arguments.",
      undefined,
    );
  }
  if (key === "end") return END;
  return key === "start" ? null : Buffer.from(key.slice(2), "base64url").toString("latin1");
}

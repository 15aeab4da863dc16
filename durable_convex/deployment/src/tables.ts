/** The committed state: tables and their indexes, one namespace for each component. */
import type { StoredDocument } from "./documents.ts";
import { tableNumberOf } from "./ids.ts";
import { Index } from "./indexes.ts";
import { NO_SCHEMA, type Schema, type TableDefinition } from "./schema.ts";
import { keyOf } from "./sortkey.ts";

const FIRST_NUMBER = 10_001;

export class Table {
  readonly namespace: string;
  readonly name: string;
  readonly number: number;
  readonly definition: TableDefinition | null;
  readonly byId: Index;
  readonly byCreation: Index;
  readonly indexes: readonly Index[];

  constructor(namespace: string, name: string, number: number, definition: TableDefinition | null) {
    this.namespace = namespace;
    this.name = name;
    this.number = number;
    this.definition = definition;
    this.byId = new Index("by_id", ["_id"], 0);
    this.byCreation = new Index("by_creation_time", ["_creationTime"], 1);
    const declared = definition?.indexes ?? [];
    this.indexes = [
      this.byId,
      this.byCreation,
      ...declared.map(({ name: index, fields }, at) => new Index(index, [...fields, "_creationTime"], at + 2)),
    ];
  }

  get(id: string): StoredDocument | null {
    return this.byId.documents.get(keyOf(id)) ?? null;
  }

  index(name: string): Index | null {
    return this.indexes.find((index) => index.name === name) ?? null;
  }

  get size(): number {
    return this.byId.documents.size;
  }

  /** Replaces the version of a document; null removes it. */
  put(id: string, next: StoredDocument | null): void {
    const previous = this.get(id);
    for (const index of this.indexes) {
      if (previous !== null) index.documents.delete(index.keyFor(previous));
      if (next !== null) index.documents.set(index.keyFor(next), next);
    }
  }
}

/** Tables the deployment itself keeps; functions may read the first one only. */
export const SCHEDULED = "_scheduled_functions";
export const JOBS = "_scheduled_jobs";
export const SESSIONS = "_session_requests";
export const ENVIRONMENT = "_environment_variables";

const SYSTEM_INDEXES: Readonly<Record<string, readonly (readonly [string, readonly string[]])[]>> = {
  [JOBS]: [
    ["by_job", ["job"]],
    ["by_time", ["time"]],
  ],
  [SESSIONS]: [["by_request", ["session", "request"]]],
  [ENVIRONMENT]: [["by_name", ["name"]]],
};

function systemDefinition(name: string): TableDefinition | null {
  const indexes = SYSTEM_INDEXES[name];
  if (indexes === undefined) return null;
  return { name, validator: null, indexes: indexes.map(([index, fields]) => ({ name: index, fields })) };
}

export class Namespace {
  readonly path: string;
  readonly schema: Schema;
  private readonly tables = new Map<string, Table>();
  private readonly names = new Map<number, string>();
  private nextNumber = FIRST_NUMBER;

  constructor(path: string, schema: Schema) {
    this.path = path;
    this.schema = schema;
  }

  /** The table of this name; it exists from the first time that somebody asks. */
  table(name: string, number: number = this.nextNumber): Table {
    const known = this.tables.get(name);
    if (known !== undefined) return known;
    const definition = this.schema.tables.get(name) ?? systemDefinition(name);
    const table = new Table(this.path, name, number, definition);
    this.tables.set(name, table);
    this.names.set(number, name);
    this.nextNumber = Math.max(this.nextNumber, number + 1);
    return table;
  }

  tableOfId(id: string): Table | null {
    const number = tableNumberOf(id);
    const name = number === null ? undefined : this.names.get(number);
    return name === undefined ? null : this.table(name);
  }

  /** Whether `id` is an id of the table called `name`. */
  owns(name: string, id: string): boolean {
    return this.tableOfId(id)?.name === name;
  }

  all(): Iterable<Table> {
    return this.tables.values();
  }
}

export class Tables {
  private readonly namespaces = new Map<string, Namespace>();
  private readonly schemas: ReadonlyMap<string, Schema>;

  /** `schemas`: the schema of each component, by the component's path; the app's path is the empty string. */
  constructor(schemas: ReadonlyMap<string, Schema>) {
    this.schemas = schemas;
    for (const path of schemas.keys()) this.namespace(path);
  }

  namespace(path: string): Namespace {
    let namespace = this.namespaces.get(path);
    if (namespace === undefined) {
      namespace = new Namespace(path, this.schemas.get(path) ?? NO_SCHEMA);
      this.namespaces.set(path, namespace);
    }
    return namespace;
  }

  all(): Iterable<Namespace> {
    return this.namespaces.values();
  }
}

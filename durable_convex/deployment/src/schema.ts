/** What a component's `schema.ts` declares, as `defineSchema(...).export()` tells it. */
import { SetupError } from "./errors.ts";
import type { ValidatorJson } from "./validators.ts";

const INDEXES_MAX = 32;
const INDEX_FIELDS_MAX = 16;

export interface IndexDefinition {
  readonly name: string;
  readonly fields: readonly string[];
}

export interface TableDefinition {
  readonly name: string;
  readonly indexes: readonly IndexDefinition[];
  /** What documents must look like; null if the schema does not validate. */
  readonly validator: ValidatorJson | null;
}

export interface Schema {
  readonly tables: ReadonlyMap<string, TableDefinition>;
  /** Whether only tables of the schema may be written. */
  readonly strict: boolean;
}

export const NO_SCHEMA: Schema = { tables: new Map(), strict: false };

interface ExportedTable {
  tableName: string;
  indexes: { indexDescriptor: string; fields: string[] }[];
  documentType?: ValidatorJson;
}

/** Reads the text that `export()` of a schema definition returns. */
export function parseSchema(exported: string): Schema {
  const { tables, schemaValidation } = JSON.parse(exported) as { tables: ExportedTable[]; schemaValidation: boolean };
  const definitions = tables.map((table) => parseTable(table, schemaValidation));
  return { tables: new Map(definitions.map((table) => [table.name, table])), strict: schemaValidation };
}

function parseTable(table: ExportedTable, validates: boolean): TableDefinition {
  if (table.indexes.length > INDEXES_MAX) {
    throw new SetupError(
      `Table "${table.tableName}" has ${table.indexes.length} indexes; the limit is ${INDEXES_MAX}.`,
    );
  }
  const indexes = table.indexes.map(({ indexDescriptor, fields }) => {
    if (fields.length > INDEX_FIELDS_MAX) {
      throw new SetupError(`Index "${table.tableName}.${indexDescriptor}" has more than ${INDEX_FIELDS_MAX} fields.`);
    }
    return { name: indexDescriptor, fields };
  });
  return { name: table.tableName, indexes, validator: validates ? (table.documentType ?? null) : null };
}

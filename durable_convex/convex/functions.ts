/** The builders, typed by this component's own schema, so that no generated code is needed. */
import {
  internalMutationGeneric,
  mutationGeneric,
  queryGeneric,
  type DataModelFromSchemaDefinition,
  type DocumentByName,
  type GenericDatabaseReader,
  type GenericDatabaseWriter,
  type MutationBuilder,
  type QueryBuilder,
  type WithoutSystemFields,
} from "convex/server";
import type { GenericId } from "convex/values";
import type schema from "./schema";

export type DataModel = DataModelFromSchemaDefinition<typeof schema>;
export type Doc<Table extends keyof DataModel & string> = DocumentByName<DataModel, Table>;
export type Fields<Table extends keyof DataModel & string> = WithoutSystemFields<Doc<Table>>;
export type Reader = GenericDatabaseReader<DataModel>;
export type Writer = GenericDatabaseWriter<DataModel>;
export type Key = GenericId<"runs">;

export const mutation = mutationGeneric as MutationBuilder<DataModel, "public">;
export const internalMutation = internalMutationGeneric as MutationBuilder<DataModel, "internal">;
export const query = queryGeneric as QueryBuilder<DataModel, "public">;

/** One version of a document, as it is stored. */
import { FunctionError } from "./errors.ts";
import { checkShape, checkSize, LIMITS } from "./limits.ts";
import { sortedFields, type JsonObject } from "./values.ts";

export interface StoredDocument {
  readonly id: string;
  readonly value: JsonObject;
  /** The value as JSON text: what reads answer and the disk keeps. */
  readonly json: string;
  readonly bytes: number;
  /** The document's key in each index of its table, by position; filled when first asked for. */
  readonly keys: string[];
}

/** Makes a document of the fields a function wrote; throws if it passes a limit. */
export function makeDocument(id: string, creationTime: number, fields: JsonObject): StoredDocument {
  checkFields(fields, id, creationTime);
  const value = sortedFields({ ...fields, _id: id, _creationTime: creationTime });
  checkShape(value, LIMITS.documentNesting, "Document");
  const bytes = checkSize(value, LIMITS.documentBytes, "Document");
  return { id, value, json: JSON.stringify(value), bytes, keys: [] };
}

/** A document of a table that the deployment keeps for itself: the limits are for documents of functions. */
export function makeSystemDocument(id: string, creationTime: number, fields: JsonObject): StoredDocument {
  const value = sortedFields({ ...fields, _id: id, _creationTime: creationTime });
  return readDocument(value, JSON.stringify(value));
}

/** A document from the disk, which was checked when it was written. */
export function readDocument(value: JsonObject, json: string): StoredDocument {
  return { id: value["_id"] as string, value, json, bytes: Buffer.byteLength(json), keys: [] };
}

function checkFields(fields: JsonObject, id: string, creationTime: number): void {
  for (const [name, value] of Object.entries(fields)) {
    if (!name.startsWith("_")) continue;
    if (name === "_id" && value === id) continue;
    if (name === "_creationTime" && value === creationTime) continue;
    throw new FunctionError(`Field '${name}' starts with an underscore, which is only allowed for system fields.`);
  }
}

/** Environment variables: a table of the deployment, which the app sees whole and components by their bindings. */
import type { Component } from "./components.ts";
import { RequestError } from "./errors.ts";
import { newId } from "./ids.ts";
import type { ReadSet } from "./reads.ts";
import { ABOVE, keyOf } from "./sortkey.ts";
import { ENVIRONMENT, type Table, type Tables } from "./tables.ts";
import type { Transaction } from "./transaction.ts";

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,39}$/;
const VALUE_BYTES_MAX = 8192;

export interface Change {
  readonly name: string;
  /** null removes the variable. */
  readonly value: string | null;
}

export class Environment {
  private readonly table: Table;
  private readonly platform: ReadonlyMap<string, string>;

  /** `platform`: the variables that the platform sets, such as CONVEX_CLOUD_URL. */
  constructor(tables: Tables, platform: ReadonlyMap<string, string>) {
    this.table = tables.namespace("").table(ENVIRONMENT);
    this.platform = platform;
  }

  /** A variable as a component sees it; the read becomes part of `reads`. */
  get(component: Component, name: string, reads: ReadSet | null): string | undefined {
    const builtIn = this.platform.get(name);
    if (builtIn !== undefined) return builtIn;
    if (component.parent === null) return this.stored(name, reads);
    const binding = component.env.get(name);
    if (binding === undefined) return undefined;
    return binding.type === "value" ? binding.value : this.get(component.parent, binding.name, reads);
  }

  names(component: Component): string[] {
    if (component.parent !== null) return [...this.platform.keys(), ...component.env.keys()];
    return [...this.platform.keys(), ...this.all().map(({ name }) => name)];
  }

  /** All variables of the deployment, by their order of creation. */
  all(reads: ReadSet | null = null): { name: string; value: string }[] {
    reads?.add(this.table.byId, { low: "", high: ABOVE });
    const documents = [...this.table.byId.documents.values()];
    return documents.map(({ value }) => ({ name: value["name"] as string, value: value["value"] as string }));
  }

  private stored(name: string, reads: ReadSet | null): string | undefined {
    const index = this.byName();
    reads?.addValue(index, name);
    const found = index.documents.next(keyOf(name), true);
    if (found === undefined || found[0] >= keyOf(name) + ABOVE) return undefined;
    return found[1].value["value"] as string;
  }

  private byName(): Table["byId"] {
    const index = this.table.index("by_name");
    if (index === null) throw new Error("the table of environment variables has no index by name");
    return index;
  }

  /**
   * Writes changes into a transaction.
   *
   * Raises:
   *   RequestError: A name or value is not allowed.
   */
  apply(transaction: Transaction, changes: readonly Change[]): void {
    for (const { name, value } of changes) {
      checkChange(name, value);
      transaction.reads.addValue(this.byName(), name);
      const known = this.byName().documents.next(keyOf(name), true);
      const id = known !== undefined && known[1].value["name"] === name ? known[1].id : null;
      if (value !== null) transaction.putSystem(this.table, id ?? newId(this.table.number), { name, value });
      else if (id !== null) transaction.putSystem(this.table, id, null);
    }
  }
}

function checkChange(name: string, value: string | null): void {
  if (!NAME.test(name)) {
    throw new RequestError(
      400,
      "EnvVarNameInvalid",
      `"${name}" is no name for an environment variable: letters, digits and "_", at most 40.`,
    );
  }
  if (name.startsWith("CONVEX_")) {
    throw new RequestError(
      400,
      "EnvVarNameForbidden",
      `Environment variable with name "${name}" is built-in and cannot be overridden.`,
    );
  }
  if (value !== null && Buffer.byteLength(value) > VALUE_BYTES_MAX) {
    throw new RequestError(
      400,
      "EnvVarValueTooLarge",
      `The value of "${name}" is larger than ${VALUE_BYTES_MAX} bytes.`,
    );
  }
}

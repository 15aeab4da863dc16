/** The control interface, for tests: faults and figures, over HTTP and with the admin key. */
import type { Deployment } from "./deployment.ts";
import type { Faults } from "./faults.ts";
import { jsonAnswer, type Answer } from "./requests.ts";

export const FAULTS_PATH = "/api/development/faults";
export const STATS_PATH = "/api/development/stats";

export class Control {
  private readonly deployment: Deployment;
  private readonly faults: Faults;

  constructor(deployment: Deployment, faults: Faults) {
    this.deployment = deployment;
    this.faults = faults;
  }

  /** The faults as they are set, after changing those given. */
  setFaults(changes: Readonly<Record<string, unknown>>): Answer {
    this.faults.set(changes);
    return jsonAnswer(JSON.stringify(this.faults.settings));
  }

  /** Documents by table, function calls, conflicts, and how often each fault has struck. */
  stats(): Answer {
    const documents: Record<string, number> = {};
    for (const namespace of this.deployment.database.tables.all()) {
      for (const table of namespace.all()) {
        if (table.size > 0)
          documents[namespace.path === "" ? table.name : `${namespace.path}/${table.name}`] = table.size;
      }
    }
    const { calls, executor } = this.deployment;
    return jsonAnswer(JSON.stringify({ documents, calls, conflicts: executor.conflicts, struck: this.faults.struck }));
  }
}

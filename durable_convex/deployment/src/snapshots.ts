/** Queries of one moment: together in one request, or one after the other at a timestamp. */
import type { Outcome } from "./call.ts";
import { FunctionError, RequestError } from "./errors.ts";
import { argumentsObject, type Caller, type FunctionRequest, type Gateway } from "./gateway.ts";

export class Snapshots {
  private readonly gateway: Gateway;

  constructor(gateway: Gateway) {
    this.gateway = gateway;
  }

  /** The timestamp of now, as clients write it. */
  async take(): Promise<string> {
    return encodeTs(this.gateway.deployment.database.ts);
  }

  /**
   * Runs a query at a timestamp.
   *
   * Raises:
   *   RequestError: Something has been committed since; this server keeps no old versions.
   */
  async query(ts: string, request: FunctionRequest, caller: Caller): Promise<Outcome> {
    const { deployment } = this.gateway;
    return deployment.executor.query(async () => {
      if (encodeTs(deployment.database.ts) !== ts) {
        throw new RequestError(
          400,
          "TimestampOutOfRange",
          "This development server keeps no old versions, and the database has changed since.",
        );
      }
      return this.now(request, caller);
    });
  }

  queryTogether(requests: readonly FunctionRequest[], caller: Caller): Promise<Outcome[]> {
    return this.gateway.deployment.executor.query(async () => {
      const outcomes: Outcome[] = [];
      for (const request of requests) outcomes.push(await this.now(request, caller));
      return outcomes;
    });
  }

  private async now(request: FunctionRequest, caller: Caller): Promise<Outcome> {
    try {
      const target = this.gateway.find(request, caller.identity);
      this.gateway.deployment.calls.queries += 1;
      return (
        await this.gateway.deployment.queryNow(target, argumentsObject(request.args), this.gateway.call(caller), null)
      ).outcome;
    } catch (error) {
      if (error instanceof FunctionError) return { ok: false, error, logLines: [] };
      throw error;
    }
  }
}

/** A timestamp as clients read it: base64 of 8 bytes, the smallest first. */
export function encodeTs(ts: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(ts);
  return bytes.toString("base64");
}

/** Faults on demand: what a network and a loaded platform do to clients, by chance and by switch. */
import { setTimeout as sleep } from "node:timers/promises";
import { RequestError } from "./errors.ts";

export interface FaultSettings {
  /** Added to each message, each way, in milliseconds. */
  latency: number;
  /** The chance that a mutation commits and its answer is lost, 0 to 1. */
  loseResponses: number;
  /** Sockets are cut every so many seconds; 0: never. */
  cutSockets: number;
  /** The chance that a request is refused with 503, before anything runs. */
  unavailable: number;
  /** The chance that a request is refused with 429, before anything runs. */
  tooMany: number;
  /** The chance that a commit is treated as a conflict. */
  chaosOcc: number;
  /** 1: the mutations of a batch commit in random order. */
  shuffle: number;
  /** How long a batch of mutations waits for more, in milliseconds: the longer, the more of them run at once. */
  overlap: number;
}

export const NO_FAULTS: Readonly<FaultSettings> = {
  latency: 0,
  loseResponses: 0,
  cutSockets: 0,
  unavailable: 0,
  tooMany: 0,
  chaosOcc: 0,
  shuffle: 0,
  overlap: 0,
};

const CHANCES: readonly (keyof FaultSettings)[] = ["loseResponses", "unavailable", "tooMany", "chaosOcc", "shuffle"];

export class Faults {
  readonly settings: FaultSettings;
  /** How often each fault has struck. */
  readonly struck = { loseResponses: 0, cutSockets: 0, unavailable: 0, tooMany: 0 };
  private readonly listeners: (() => void)[] = [];

  constructor(settings: Partial<FaultSettings>) {
    this.settings = { ...NO_FAULTS };
    this.set(settings);
  }

  /**
   * Changes some settings.
   *
   * Raises:
   *   RequestError: There is no such setting, or the value is out of its range.
   */
  set(changes: Readonly<Record<string, unknown>>): void {
    for (const [name, value] of Object.entries(changes)) {
      if (!(name in NO_FAULTS))
        throw new RequestError(
          400,
          "UnknownFault",
          `There is no fault "${name}"; there are ${Object.keys(NO_FAULTS).join(", ")}.`,
        );
      const key = name as keyof FaultSettings;
      if (typeof value !== "number" || !(value >= 0) || (CHANCES.includes(key) && value > 1)) {
        throw new RequestError(
          400,
          "BadFault",
          `${name} cannot be ${JSON.stringify(value)}: chances are from 0 to 1, times are not negative.`,
        );
      }
    }
    Object.assign(this.settings, changes);
    for (const listener of this.listeners) listener();
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  async delay(): Promise<void> {
    if (this.settings.latency > 0) await sleep(this.settings.latency);
  }

  /** Throws if this request is to be refused. */
  admit(): void {
    if (this.strikes("unavailable"))
      throw new RequestError(503, "ServiceUnavailable", "The service is temporarily unavailable.");
    if (this.strikes("tooMany")) {
      throw new RequestError(429, "TooManyConcurrentRequests", "Too many concurrent requests, retry with backoff.");
    }
  }

  /** Whether the answer to a mutation that has just committed is to be lost. */
  losesResponse(): boolean {
    return this.strikes("loseResponses");
  }

  private strikes(fault: "unavailable" | "tooMany" | "loseResponses"): boolean {
    if (Math.random() >= this.settings[fault]) return false;
    this.struck[fault] += 1;
    return true;
  }
}

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["*.test.ts"],
    // Each file starts servers of its own; more at once would only compete for the processor.
    maxWorkers: 2,
    minWorkers: 1,
    // Nothing is timed here: the deadlines are for what hangs, and a busy machine is slow to show that it does not.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["*.test.ts"],
    // Each file starts servers of its own; more at once would only compete for the processor.
    maxWorkers: 2,
    minWorkers: 1,
    testTimeout: 30_000,
    // A process that starves on a busy machine is asked once more; what is wrong fails twice.
    retry: 1,
  },
});

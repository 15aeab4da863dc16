import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// The component's files lie outside of this folder, where its packages are not found by themselves.
const packages = (path: string) => fileURLToPath(new URL(`./node_modules/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^convex\/(server|values)$/, replacement: packages("convex/dist/esm/$1/index.js") },
      { find: "@component", replacement: fileURLToPath(new URL("../../../durable_convex/convex", import.meta.url)) },
    ],
  },
  test: { include: ["*.test.ts"], testTimeout: 20_000 },
});

import { createWorker, workflow } from "@akshatgiri/convex-orchestrator";
import { ConvexClient } from "convex/browser";
import { anyApi } from "convex/server";
import { describe, expect, onTestFinished, test } from "vitest";
import WebSocket from "ws";
import { start, temporaryDirectory, until } from "./server.ts";

describe("@convex-dev/workflow, as published", () => {
  test("workflows of five mutations run to their ends, each step once", async () => {
    const server = await start("workflow");
    const names = Array.from({ length: 5 }, (_, at) => `flow ${at}`);
    const ids = await Promise.all(
      names.map((name) => server.mutation("flows:start", { flow: "five", args: { name } })),
    );
    for (const id of ids) {
      const status = await until(
        () => server.query("flows:status", { id }),
        ({ type }) => type !== "inProgress",
      );
      expect(status).toMatchObject({ type: "completed" });
      expect(status.result).toHaveLength(5);
    }
    const expected = names.flatMap((name) => [0, 1, 2, 3, 4].map((at) => `${name} ${at}`));
    expect((await server.query("flows:ledger")).sort()).toEqual(expected.sort());
  });

  test("an action, a timer and an event are waited for, over a kill -9", async () => {
    const data = temporaryDirectory();
    let server = await start("workflow", ["--data", data]);
    const id = await server.mutation("flows:start", { flow: "waits", args: {} });
    await until(
      () => server.query("flows:status", { id }),
      ({ running }) => running?.some(({ name }: { name: string }) => name === "go"),
    );
    await server.stop("SIGKILL");
    server = await start("workflow", ["--data", data]);
    await server.mutation("flows:send", { id, name: "go", value: 7 });
    const status = await until(
      () => server.query("flows:status", { id }),
      ({ type }) => type !== "inProgress",
    );
    expect(status).toMatchObject({ type: "completed", result: { doubled: 42, event: 7 } });
  });
});

describe("@akshatgiri/convex-orchestrator, as published", () => {
  test("its own worker runs steps, a sleep and a signal end to end", async () => {
    const server = await start("orchestrator");
    const client = new ConvexClient(server.url, { logger: false, webSocketConstructor: WebSocket as never });
    onTestFinished(() => client.close());
    const greet = workflow("greet", async (ctx, { name }: { name: string }) => {
      const greeting = await ctx.step("greeting", async () => `Hello, ${name}!`);
      await ctx.sleep("pause", 20);
      const signal = await ctx.waitForSignal("answer", "reply");
      return { greeting, signal };
    });
    const api = anyApi["orchestrator"] as never;
    const worker = createWorker(client as never, api, { workflows: [greet], pollIntervalMs: 50 });
    void worker.start();
    onTestFinished(() => worker.stop());
    const { workflowId } = (await worker.startWorkflow("greet", { name: "World" })) as unknown as {
      workflowId: string;
    };
    await until(
      () => server.query("orchestrator:getWorkflowSteps", { workflowId }),
      (steps) => steps.length === 3,
    );
    await server.mutation("orchestrator:signalWorkflow", { workflowId, signal: "reply", payload: 42 });
    const done = await until(
      () => server.query("orchestrator:getWorkflow", { workflowId }),
      ({ status }) => !["pending", "running", "sleeping", "waiting"].includes(status),
    );
    expect(done).toMatchObject({ status: "completed", output: { greeting: "Hello, World!", signal: 42 } });
  });
});

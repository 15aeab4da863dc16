import { exposeApi, exposeApiWithWorker } from "@akshatgiri/convex-orchestrator";
import { componentsGeneric } from "convex/server";

const component = componentsGeneric()["convexOrchestrator"] as never;

export const { startWorkflow, getWorkflow, listWorkflows, getWorkflowSteps, signalWorkflow } = exposeApi(component);

export const {
  claimWorkflow,
  heartbeat,
  completeWorkflow,
  failWorkflow,
  sleepWorkflow,
  getOrCreateStep,
  scheduleSleep,
  waitForSignal,
  completeStep,
  failStep,
  subscribePendingWorkflows,
} = exposeApiWithWorker(component, { authorize: async () => true }) as Record<string, never>;

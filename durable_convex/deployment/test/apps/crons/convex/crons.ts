import { anyApi, cronJobs } from "convex/server";

const crons = cronJobs();
crons.interval("tick", { seconds: 1 }, (anyApi as any).ticks.tick, { by: 2 });
crons.daily("daily", { hourUTC: 3, minuteUTC: 15 }, (anyApi as any).ticks.tick, { by: 100 });
export default crons;

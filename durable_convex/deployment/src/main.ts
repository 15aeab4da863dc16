/** The program: reads the command line, serves until it is told to stop. */
import { messageOf, SetupError } from "./errors.ts";
import { readOptions, USAGE } from "./options.ts";
import { startServer } from "./server.ts";

// A function may leave work behind that fails after it has ended; that must not end the server.
process.on("unhandledRejection", (reason) =>
  console.error("A promise that a function left behind was rejected:", messageOf(reason)),
);

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  if (argv.includes("--help")) {
    console.log(USAGE);
    return;
  }
  const options = readOptions(argv);
  const server = await startServer(options);
  console.log(`${server.functions} functions at ${server.url}`);
  if (options.adminKeyIsNew) console.log(`Admin key: ${server.adminKey}`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void server.close().then(() => process.exit(0)));
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof SetupError ? error.message : error);
  process.exit(1);
});

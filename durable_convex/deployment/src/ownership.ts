/** One server for each data directory: two that append to one log would each believe that theirs is all of it. */
import { createHash } from "node:crypto";
import { mkdirSync, realpathSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SetupError } from "./errors.ts";

/**
 * Takes the directory, until the process ends or `release` is called.
 *
 * What is taken is a local socket: the system frees it however the process ends.
 *
 * Raises:
 *   SetupError: Another server has it.
 */
export async function own(directory: string): Promise<{ release(): void }> {
  mkdirSync(directory, { recursive: true });
  const address = addressOf(realpathSync(directory));
  for (let tries = 0; ; tries += 1) {
    const server = await listening(address);
    if (server !== null) return { release: () => void server.close() };
    if (tries > 0 || (await answers(address))) {
      throw new SetupError(`Another development server works with the data in ${directory}: end that one first.`);
    }
    if (!address.startsWith("\0")) rmSync(address, { force: true }); // left by one that was killed
  }
}

function addressOf(directory: string): string {
  const name = `durable-convex-${createHash("sha256").update(directory).digest("hex").slice(0, 24)}`;
  if (process.platform === "win32") return `\\\\.\\pipe\\${name}`;
  if (process.platform === "linux") return `\0${name}`; // a name without a file, which nobody has to tidy away
  return join(tmpdir(), `${name}.sock`);
}

/** A server at that address; null if there is one already, or the remains of one. */
async function listening(address: string): Promise<Server | null> {
  const server = createServer((socket) => socket.destroy());
  return await new Promise((done, failed) => {
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? done(null) : failed(error)));
    server.listen(address, () => done(server.unref()));
  });
}

async function answers(address: string): Promise<boolean> {
  return await new Promise((done) => {
    const socket = createConnection(address, () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

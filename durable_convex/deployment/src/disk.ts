/**
 * The log on disk: every commit is a line of `log.jsonl`, forced to the disk before anybody is answered.
 *
 * `snapshot.jsonl` holds the state up to some commit; it is written when the server starts, and when the log has
 * grown large. A last line that was torn by a crash belongs to a commit that nobody was told of, and is dropped.
 */
import {
  closeSync,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { SetupError } from "./errors.ts";

const forceData = promisify(fdatasync);
const LOG_BYTES_MAX = 64 << 20;
const SNAPSHOT_CHUNK_BYTES = 1 << 20;

/** One write: namespace, table, the table's number, id, and the document or null. */
export type WriteLine = readonly [string, string, number, string, string | null];

/** One line: the commit's timestamp and its writes. */
export interface CommitLine {
  readonly ts: bigint;
  readonly writes: readonly WriteLine[];
}

export class Disk {
  private readonly logPath: string;
  private readonly snapshotPath: string;
  private log = -1;
  private logBytes = 0;
  private pending: string[] = [];

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true });
    this.logPath = join(directory, "log.jsonl");
    this.snapshotPath = join(directory, "snapshot.jsonl");
  }

  /** Hands each commit that survived to `apply`, oldest first, and opens the log. */
  load(apply: (line: CommitLine) => void): void {
    let last = -1n;
    const once = (line: CommitLine): void => {
      // A crash between the new snapshot and the emptying of the log leaves commits in both.
      if (line.ts <= last) return;
      apply(line);
    };
    for (const line of completeLines(this.snapshotPath).lines) {
      const commit = parseLine(line, this.snapshotPath);
      apply(commit);
      last = commit.ts;
    }
    const { lines, bytes } = completeLines(this.logPath);
    lines.forEach((line) => once(parseLine(line, this.logPath)));
    this.log = openSync(this.logPath, "a");
    ftruncateSync(this.log, bytes);
    this.logBytes = bytes;
  }

  append(line: CommitLine): void {
    this.pending.push(lineText(line));
  }

  /** Writes what was appended, and returns when it is on the disk. */
  async flush(): Promise<void> {
    if (this.pending.length === 0) return;
    const text = Buffer.from(this.pending.join(""), "utf8");
    this.pending = [];
    writeAll(this.log, text);
    this.logBytes += text.length;
    await forceData(this.log);
  }

  get wantsSnapshot(): boolean {
    return this.logBytes > LOG_BYTES_MAX;
  }

  /** Replaces snapshot and log by the state given; a crash at any moment leaves the one or the other whole. */
  snapshot(lines: Iterable<CommitLine>): void {
    const draft = `${this.snapshotPath}.new`;
    const file = openSync(draft, "w");
    let chunk = "";
    for (const line of lines) {
      chunk += lineText(line);
      if (chunk.length < SNAPSHOT_CHUNK_BYTES) continue;
      writeAll(file, Buffer.from(chunk, "utf8"));
      chunk = "";
    }
    writeAll(file, Buffer.from(chunk, "utf8"));
    fsyncSync(file);
    closeSync(file);
    renameSync(draft, this.snapshotPath);
    forceDirectory(dirname(this.snapshotPath));
    ftruncateSync(this.log, 0);
    fsyncSync(this.log);
    this.logBytes = 0;
  }

  close(): void {
    closeSync(this.log);
  }
}

function writeAll(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
}

function forceDirectory(path: string): void {
  const directory = openSync(path, "r");
  fsyncSync(directory);
  closeSync(directory);
}

function lineText({ ts, writes }: CommitLine): string {
  const parts = writes.map(
    ([namespace, table, number, id, json]) =>
      `[${JSON.stringify(namespace)},${JSON.stringify(table)},${number},"${id}",${json ?? "null"}]`,
  );
  return `["${ts}",[${parts.join(",")}]]\n`;
}

/** The whole lines of a file, and how many bytes they take; a torn last line is left out. */
function completeLines(path: string): { lines: string[]; bytes: number } {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { lines: [], bytes: 0 };
    throw error;
  }
  const end = content.lastIndexOf(10) + 1;
  const lines: string[] = [];
  for (let from = 0; from < end;) {
    const to = content.indexOf(10, from);
    lines.push(content.toString("utf8", from, to));
    from = to + 1;
  }
  return { lines, bytes: end };
}

function parseLine(line: string, path: string): CommitLine {
  try {
    const [ts, writes] = JSON.parse(line) as [string, [string, string, number, string, unknown][]];
    return {
      ts: BigInt(ts),
      writes: writes.map(([namespace, table, number, id, document]) => [
        namespace,
        table,
        number,
        id,
        document === null ? null : JSON.stringify(document),
      ]),
    };
  } catch (error) {
    throw new SetupError(`${path} is damaged in the middle, at the line ${line.slice(0, 80)}...: ${String(error)}`);
  }
}

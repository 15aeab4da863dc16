/** Sockets: accepts them at /api/sync, delays and cuts them on demand. */
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type WebSocket } from "ws";
import { DelayLine } from "./delay_line.ts";
import { PING } from "./sync_messages.ts";
import { SyncSession, type SessionParts } from "./sync_session.ts";

const PATH = /^\/api\/(?:[^/]+\/)?sync(?:\?|$)/;
const PING_MS = 15_000;
const MESSAGE_BYTES_MAX = 64 << 20;

export class SyncInterface {
  private readonly parts: SessionParts;
  private readonly sockets = new Set<WebSocket>();
  private readonly acceptor = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_BYTES_MAX });
  private cutter: NodeJS.Timeout | undefined;

  constructor(parts: SessionParts, server: Server) {
    this.parts = parts;
    server.on("upgrade", (request, socket, head) => this.upgrade(request, socket, head));
    parts.faults.onChange(() => this.armCutter());
    this.armCutter();
  }

  private armCutter(): void {
    clearInterval(this.cutter);
    const seconds = this.parts.faults.settings.cutSockets;
    if (seconds > 0) this.cutter = setInterval(() => this.cutAll(), seconds * 1000).unref();
  }

  private cutAll(): void {
    this.parts.faults.struck.cutSockets += this.sockets.size;
    for (const socket of this.sockets) socket.terminate();
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (!PATH.test(request.url ?? "")) {
      socket.end("HTTP/1.1 404 Not Found\r\n\r\n");
      return;
    }
    this.acceptor.handleUpgrade(request, socket, head, (accepted) => this.serve(accepted, request));
  }

  private serve(socket: WebSocket, request: IncomingMessage): void {
    const latency = (): number => this.parts.faults.settings.latency;
    const outbox = new DelayLine<() => void>(latency, (act) => act());
    const session = new SyncSession(this.parts, {
      ip: request.socket.remoteAddress ?? null,
      userAgent: request.headers["user-agent"] ?? null,
      send: (text) => outbox.push(() => socket.send(text)),
      close: (code, reason) => outbox.push(() => socket.close(code, reason)),
      cut: () => socket.terminate(),
    });
    const inbox = new DelayLine<string>(latency, (text) => session.receive(text));
    const ping = setInterval(() => socket.send(PING), PING_MS);
    this.sockets.add(socket);
    socket.on("message", (data) => inbox.push(String(data)));
    // A connection that breaks emits an error before it closes; closing is what matters.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearInterval(ping);
      this.sockets.delete(socket);
      session.end();
    });
  }

  close(): void {
    clearInterval(this.cutter);
    for (const socket of this.sockets) socket.terminate();
  }
}

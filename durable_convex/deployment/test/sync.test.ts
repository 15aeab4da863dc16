import { ConvexClient } from "convex/browser";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { describe, expect, onTestFinished, test } from "vitest";
import WebSocket from "ws";
import { ADMIN_KEY, start, temporaryDirectory, until, type Server } from "./server.ts";

function connect(server: Server): ConvexClient {
  const client = new ConvexClient(server.url, { logger: false, webSocketConstructor: WebSocket as never });
  onTestFinished(() => client.close());
  return client;
}

/** Collects what a subscription is told. */
function watch(client: ConvexClient, path: string, args: unknown = {}): any[] {
  const seen: any[] = [];
  client.onUpdate(
    path as never,
    args as never,
    (value) => seen.push(value),
    (error) => seen.push(error),
  );
  return seen;
}

const call = (client: ConvexClient, path: string, args: unknown): Promise<any> =>
  client.mutation(path as never, args as never);

describe("the official JavaScript client", () => {
  test("sees its own writes, in its subscriptions too, when a mutation returns", async () => {
    const server = await start("basic");
    const client = connect(server);
    const seen = watch(client, "items:list");
    await call(client, "items:add", { name: "a", rank: 1 });
    expect(seen.at(-1)).toEqual(["a"]);
    await call(client, "items:add", { name: "b", rank: 2 });
    expect(seen.at(-1)).toEqual(["a", "b"]);
    expect(await client.action("items:act" as never, { url: server.url } as never)).toMatchObject({
      names: ["a", "b", "from an action"],
    });
  });

  test("is told of what others write, and only of what its queries read", async () => {
    const server = await start("basic");
    const client = connect(server);
    const a = watch(client, "items:counter", { name: "a" });
    const b = watch(client, "items:counter", { name: "b" });
    await until(
      async () => [a.length, b.length],
      ([first, second]) => first === 1 && second === 1,
    );
    for (let at = 0; at < 3; at++) await server.mutation("items:bump", { name: "a" });
    await until(
      async () => a.at(-1),
      (value) => value === 3,
    );
    expect(b).toEqual([0]);
  });

  test("sends its mutations one after the other, in order", async () => {
    const server = await start("basic");
    const client = connect(server);
    const results = await Promise.all(Array.from({ length: 30 }, () => call(client, "items:bump", { name: "n" })));
    expect(results).toEqual(Array.from({ length: 30 }, (_, at) => at + 1));
  });

  test("gets errors and their data", async () => {
    const server = await start("basic", ["--prod"]);
    const client = connect(server);
    await expect(call(client, "items:fail", { how: "plain" })).rejects.toThrow(/Server Error/);
    await expect(call(client, "items:fail", { how: "convex" })).rejects.toMatchObject({
      data: { code: "NO", count: 5n },
    });
    const seen = watch(client, "items:get", { id: "nonsense" });
    await until(
      async () => seen.length,
      (count) => count > 0,
    );
    expect(String(seen[0])).toMatch(/Server Error/);
  });

  test("runs a mutation once when the connection breaks before the answer", async () => {
    const server = await start("basic");
    const client = connect(server);
    await call(client, "items:bump", { name: "n" });
    await server.admin("/api/development/faults", { loseResponses: 1 });
    const bumped = call(client, "items:bump", { name: "n" });
    await until(
      () => server.query("items:counter", { name: "n" }),
      (value) => value === 2,
    );
    await server.admin("/api/development/faults", { loseResponses: 0 });
    expect(await bumped).toBe(2);
    expect(await server.query("items:counter", { name: "n" })).toBe(2);
  });

  test("runs a mutation once also when the server dies after the commit and before the answer", async () => {
    const data = temporaryDirectory();
    const first = await start("basic", ["--data", data, "--lose-responses", "1"]);
    const client = connect(first);
    const bumped = call(client, "items:bump", { name: "n" });
    await until(
      () => first.query("items:counter", { name: "n" }),
      (value) => value === 1,
    );
    await first.stop("SIGKILL");
    const second = await start("basic", ["--data", data, "--port", new URL(first.url).port]);
    expect(await bumped).toBe(1);
    expect(await second.query("items:counter", { name: "n" })).toBe(1);
  });

  test("comes back by itself when sockets are cut", async () => {
    const server = await start("basic");
    const client = connect(server);
    const seen = watch(client, "items:counter", { name: "n" });
    await until(
      async () => seen.length,
      (count) => count === 1,
    );
    await server.admin("/api/development/faults", { cutSockets: 0.05 });
    await until(
      () => fetchStats(server),
      ({ struck }) => struck.cutSockets > 0,
    );
    await server.admin("/api/development/faults", { cutSockets: 0 });
    await server.mutation("items:bump", { name: "n" });
    await until(
      async () => seen.at(-1),
      (value) => value === 1,
    );
  });

  test("pages of a subscription stay gapless while items are inserted", async () => {
    const server = await start("basic");
    for (let rank = 0; rank < 4; rank++) await server.mutation("items:add", { name: `n${rank}`, rank });
    const client = connect(server);
    const seen = watch(client, "items:page", { opts: { numItems: 2, cursor: null } });
    await until(
      async () => seen.length,
      (count) => count === 1,
    );
    await server.mutation("items:add", { name: "between", rank: 0.5 });
    const names = await until(
      async () => seen.at(-1).page.map((item: { name: string }) => item.name),
      (page) => page.length === 3,
    );
    expect(names).toEqual(["n0", "between", "n1"]);
    expect(seen.at(-1).continueCursor).toBe(seen[0].continueCursor);
  });

  test("an environment variable that changes runs queries again that read it", async () => {
    const server = await start("basic", ["--env", "SECRET=one"]);
    const client = connect(server);
    const seen = watch(client, "items:around");
    await until(
      async () => seen.at(-1)?.outside.secret,
      (value) => value === "one",
    );
    await server.admin("/api/update_environment_variables", { changes: [{ name: "SECRET", value: "two" }] });
    await until(
      async () => seen.at(-1).outside.secret,
      (value) => value === "two",
    );
  });
});

async function fetchStats(server: Server): Promise<any> {
  return (
    await fetch(`${server.url}/api/development/stats`, { headers: { Authorization: `Convex ${ADMIN_KEY}` } })
  ).json();
}

describe("identities", () => {
  async function signer(): Promise<{
    jwks: string;
    sign: (claims: object, issuer?: string, expires?: string) => Promise<string>;
  }> {
    const { publicKey, privateKey } = await generateKeyPair("ES256");
    const key = { ...(await exportJWK(publicKey)), kid: "k1", alg: "ES256", use: "sig" };
    return {
      jwks: `data:application/json,${encodeURIComponent(JSON.stringify({ keys: [key] }))}`,
      sign: (claims, issuer = "https://workers.test", expires = "5m") =>
        new SignJWT({ ...claims })
          .setProtectedHeader({ alg: "ES256", kid: "k1" })
          .setIssuer(issuer)
          .setSubject("worker:1")
          .setIssuedAt()
          .setExpirationTime(expires)
          .sign(privateKey),
    };
  }

  test("a signed token of a trusted issuer says who calls, over HTTP and sockets; components do not see it", async () => {
    const { jwks, sign } = await signer();
    const server = await start("basic", ["--env", `JWKS=${jwks}`]);
    const token = await sign({ role: "worker" });
    const answer = await server.post(
      "/api/query",
      { path: "items:around", args: {} },
      { Authorization: `Bearer ${token}` },
    );
    expect(answer.body.value.outside.identity).toEqual({
      tokenIdentifier: "https://workers.test|worker:1",
      issuer: "https://workers.test",
      subject: "worker:1",
      role: "worker",
    });
    expect(answer.body.value.inside.identity).toBeNull();
    const client = connect(server);
    client.setAuth(async () => token);
    const seen = watch(client, "items:around");
    await until(
      async () => seen.at(-1)?.outside.identity?.subject,
      (subject) => subject === "worker:1",
    );
  });

  test("tokens that are forged, expired or of others are refused", async () => {
    const { jwks, sign } = await signer();
    const forger = await signer();
    const server = await start("basic", ["--env", `JWKS=${jwks}`]);
    const ask = async (token: string): Promise<number> =>
      (await server.post("/api/query", { path: "items:list", args: {} }, { Authorization: `Bearer ${token}` })).status;
    expect(await ask(await sign({}))).toBe(200);
    expect(await ask(await forger.sign({}))).toBe(401);
    expect(await ask(await sign({}, "https://elsewhere.test"))).toBe(401);
    expect(await ask(await sign({}, undefined, "1s ago"))).toBe(401);
    expect(await ask("not.a.token")).toBe(401);
    const unsigned = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${(await sign({})).split(".")[1]}.`;
    expect(await ask(unsigned)).toBe(401);
  });

  test("a socket with a bad token is told so and closed", async () => {
    const server = await start("basic");
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/api/sync`);
    const messages: any[] = [];
    socket.on("message", (text) => messages.push(JSON.parse(String(text))));
    await new Promise((open) => socket.once("open", open));
    socket.send(
      JSON.stringify({
        type: "Connect",
        sessionId: "9b0b1c58-3f3c-4b0e-8b2c-111111111111",
        connectionCount: 0,
        lastCloseReason: null,
      }),
    );
    socket.send(JSON.stringify({ type: "Authenticate", tokenType: "User", value: "a.b.c", baseVersion: 0 }));
    await new Promise((closed) => socket.once("close", closed));
    expect(messages).toMatchObject([{ type: "AuthError", baseVersion: 0, authUpdateAttempted: true }]);
  });
});

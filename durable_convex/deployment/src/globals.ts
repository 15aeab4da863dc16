/** The globals of realms besides those of the language: the web's, as far as Convex has them. */
import { createHash, webcrypto } from "node:crypto";
import { FunctionError } from "./errors.ts";
import type { Realm } from "./realm.ts";

/** "transaction": queries and mutations, which are deterministic; "action": all else. */
export type RealmKind = "transaction" | "action";

// One set of buffer classes for all realms, because what TextEncoder and crypto return must be `instanceof` them.
const BUFFERS = {
  ArrayBuffer,
  SharedArrayBuffer,
  DataView,
  Uint8Array,
  Uint8ClampedArray,
  Uint16Array,
  Uint32Array,
  Int8Array,
  Int16Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
};

const WEB = {
  TextEncoder,
  TextDecoder,
  URL,
  URLSearchParams,
  Blob,
  Headers,
  Request,
  Response,
  FormData,
  AbortController,
  AbortSignal,
  Event,
  EventTarget,
  ReadableStream,
  WritableStream,
  TransformStream,
  DOMException,
  atob,
  btoa,
  structuredClone,
  queueMicrotask,
};

export function installed(kind: RealmKind, realm: Realm): Record<string, unknown> {
  const shared: Record<string, unknown> = { ...BUFFERS, ...WEB };
  if (kind === "transaction") return { ...shared, ...forbidden(realm), crypto: deterministicCrypto(realm) };
  return {
    ...shared,
    fetch,
    setTimeout,
    clearTimeout,
    setInterval,
    clearInterval,
    setImmediate,
    clearImmediate,
    Buffer,
    performance,
    crypto: webcrypto,
  };
}

function forbidden(realm: Realm): Record<string, unknown> {
  const refuse = (name: string) => (): never => {
    throw realm.errorOf(
      new FunctionError(`Can't use ${name}() in queries and mutations. Please consider using an action.`),
    );
  };
  return {
    fetch: refuse("fetch"),
    setTimeout: refuse("setTimeout"),
    setInterval: refuse("setInterval"),
    clearTimeout: () => undefined,
  };
}

const HASHES: Readonly<Record<string, string>> = {
  "SHA-1": "sha1",
  "SHA-256": "sha256",
  "SHA-384": "sha384",
  "SHA-512": "sha512",
};

function deterministicCrypto(realm: Realm): object {
  const real = webcrypto.subtle;
  const subtle: Record<string, unknown> = {
    // Computed here and now: a trip to the thread pool would take longer than most mutations.
    digest: async (algorithm: string | { name: string }, data: ArrayBuffer | ArrayBufferView): Promise<ArrayBuffer> => {
      const hash = HASHES[(typeof algorithm === "string" ? algorithm : algorithm.name).toUpperCase()];
      if (hash === undefined) throw realm.errorOf(new FunctionError("Unrecognized algorithm name"));
      const bytes = ArrayBuffer.isView(data)
        ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
        : new Uint8Array(data);
      return new Uint8Array(createHash(hash).update(bytes).digest()).buffer;
    },
  };
  for (const name of [
    "sign",
    "verify",
    "importKey",
    "exportKey",
    "encrypt",
    "decrypt",
    "deriveBits",
    "deriveKey",
    "generateKey",
  ] as const) {
    subtle[name] = (real[name] as (...parts: unknown[]) => unknown).bind(real);
  }
  return {
    subtle,
    randomUUID: () => realm.host?.uuid(),
    getRandomValues: (array: ArrayBufferView): ArrayBufferView => {
      realm.host?.fillRandom(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
      return array;
    },
  };
}

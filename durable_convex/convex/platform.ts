/** What Convex's runtime has and the language's own types do not know, declared here: no other types are needed. */
declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new (label: string, options: { fatal: boolean }) => { decode(data: Uint8Array): string };
declare const crypto: { subtle: { digest(algorithm: string, data: Uint8Array): Promise<ArrayBuffer> } };
declare const process: { env: Record<string, string | undefined> };

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The text of these bytes; null if they are not UTF-8. */
export function textOf(data: string | ArrayBuffer | Uint8Array): string | null {
  if (typeof data === "string") return data;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data instanceof Uint8Array ? data : new Uint8Array(data));
  } catch {
    return null;
  }
}

export function bytesOf(data: string | ArrayBuffer): Uint8Array {
  return typeof data === "string" ? utf8(data) : new Uint8Array(data);
}

export async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(text)));
}

export function hex(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A fresh id of 32 hexadecimal digits; in mutations and queries the platform seeds the dice anew for each call. */
export function randomToken(): string {
  let token = "";
  while (token.length < 32) {
    token += Math.floor(Math.random() * 0x100000000)
      .toString(16)
      .padStart(8, "0");
  }
  return token;
}

/** A variable of the deployment's environment; undefined where it is not set, or there is no environment. */
export function variable(name: string): string | undefined {
  return typeof process === "undefined" ? undefined : process.env[name];
}

/** Seeded randomness: what a query or mutation draws is decided by its seed. */
import { randomBytes } from "node:crypto";

/** A generator of numbers in [0, 1). */
export class Random {
  private state: number;

  constructor(seed: number = seeds.bits()) {
    this.state = seed | 0;
  }

  /** 32 fresh bits (the mixing of splitmix32). */
  bits(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let mixed = this.state ^ (this.state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  next(): number {
    return ((this.bits() >>> 5) * 2 ** 26 + (this.bits() >>> 6)) / 2 ** 53;
  }

  fill(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at++) bytes[at] = this.bits() & 0xff;
  }

  uuid(): string {
    const bytes = Buffer.alloc(16);
    this.fill(bytes);
    bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
    const hex = bytes.toString("hex");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  }
}

// The operating system is asked once: asking for each function would cost more than many of them.
const seeds = new Random(randomBytes(4).readUInt32LE(0));

/** An id for a request, to find it in logs by: 16 hexadecimal digits. */
export function requestId(): string {
  return [seeds.bits(), seeds.bits()].map((bits) => bits.toString(16).padStart(8, "0")).join("");
}

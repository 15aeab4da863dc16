/**
 * Index keys: Convex values as strings whose order by character codes is the order of the values.
 *
 * Each character is one byte. An encoded value begins with a tag that says its type and never is a prefix of another
 * one, so keys of several fields are the concatenation of their fields.
 */
import { bytesOf, floatOf, integerOf, kindOf, type Json, type JsonObject } from "./values.ts";

/** Above every encoded value, for the upper end of a range. */
export const ABOVE = "\xff";

const scratch = new DataView(new ArrayBuffer(8));

function scratchText(): string {
  return String.fromCharCode(
    scratch.getUint8(0),
    scratch.getUint8(1),
    scratch.getUint8(2),
    scratch.getUint8(3),
    scratch.getUint8(4),
    scratch.getUint8(5),
    scratch.getUint8(6),
    scratch.getUint8(7),
  );
}

function floatKey(value: number): string {
  scratch.setFloat64(0, value);
  const high = scratch.getUint32(0);
  if (high >= 0x80000000) {
    scratch.setUint32(0, ~high >>> 0);
    scratch.setUint32(4, ~scratch.getUint32(4) >>> 0);
  } else {
    scratch.setUint32(0, (high | 0x80000000) >>> 0);
  }
  return `\x04${scratchText()}`;
}

function integerKey(value: bigint): string {
  scratch.setBigInt64(0, value);
  scratch.setUint8(0, scratch.getUint8(0) ^ 0x80);
  return `\x03${scratchText()}`;
}

// A zero byte inside is followed by 0xff; two zero bytes end the text, so that "a" sorts before "a\0".
function textKey(tag: string, bytes: string): string {
  return `${tag}${bytes.includes("\0") ? bytes.replaceAll("\0", "\0\xff") : bytes}\0\0`;
}

const ASCII = /^[\x00-\x7f]*$/;

function stringKey(value: string): string {
  return textKey("\x07", ASCII.test(value) ? value : Buffer.from(value, "utf8").toString("latin1"));
}

/** The key of one value; undefined is a missing field, which sorts first. */
export function keyOf(value: Json | undefined): string {
  if (value === undefined) return "\x01";
  switch (kindOf(value)) {
    case "undefined":
      return "\x01";
    case "null":
      return "\x02";
    case "int64":
      return integerKey(integerOf(value));
    case "commitTs":
      return integerKey(0x7fffffffffffffffn);
    case "float64":
      return floatKey(floatOf(value));
    case "boolean":
      return value === true ? "\x06" : "\x05";
    case "string":
      return stringKey(value as string);
    case "bytes":
      return textKey("\x08", bytesOf(value).toString("latin1"));
    case "array":
      return `\x09${(value as Json[]).map(keyOf).join("")}\0`;
    case "object":
      return `\x0b${Object.keys(value as JsonObject)
        .sort()
        .map((field) => fieldKey(field, value as JsonObject))
        .join("")}\0`;
  }
}

function fieldKey(field: string, owner: JsonObject): string {
  return stringKey(field) + keyOf(owner[field]);
}

/** The smallest key above `key`. */
export function after(key: string): string {
  return `${key}\0`;
}

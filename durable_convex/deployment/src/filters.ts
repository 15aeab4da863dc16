/** Filter expressions of `.filter(q => ...)`, evaluated on documents. */
import { FunctionError } from "./errors.ts";
import { keyOf } from "./sortkey.ts";
import { encodeInteger, fieldAt, floatOf, integerOf, kindOf, type Json, type JsonObject } from "./values.ts";

/** Whether the document passes; a missing field is `undefined`, as in JavaScript. */
export function passes(expression: Json, document: JsonObject): boolean {
  return evaluate(expression, document) === true;
}

type Operand = Json | undefined;

const COMPARISONS: Readonly<Record<string, (left: string, right: string) => boolean>> = {
  $eq: (left, right) => left === right,
  $neq: (left, right) => left !== right,
  $lt: (left, right) => left < right,
  $lte: (left, right) => left <= right,
  $gt: (left, right) => left > right,
  $gte: (left, right) => left >= right,
};

const FLOATS: Readonly<Record<string, (left: number, right: number) => number>> = {
  $add: (left, right) => left + right,
  $sub: (left, right) => left - right,
  $mul: (left, right) => left * right,
  $div: (left, right) => left / right,
  $mod: (left, right) => left % right,
};

const INTEGERS: Readonly<Record<string, (left: bigint, right: bigint) => bigint>> = {
  $add: (left, right) => left + right,
  $sub: (left, right) => left - right,
  $mul: (left, right) => left * right,
  $div: (left, right) => left / right,
  $mod: (left, right) => left % right,
};

function evaluate(expression: Json, document: JsonObject): Operand {
  const [operator, operand] = Object.entries(expression as JsonObject)[0] as [string, Json];
  if (operator === "$literal") return kindOf(operand) === "undefined" ? undefined : operand;
  if (operator === "$field") return fieldAt(document, (operand as string).split("."));
  if (operator === "$and") return (operand as Json[]).every((part) => evaluate(part, document) === true);
  if (operator === "$or") return (operand as Json[]).some((part) => evaluate(part, document) === true);
  if (operator === "$not") return evaluate(operand, document) !== true;
  if (operator === "$neg") return negated(evaluate(operand, document));
  const [left, right] = (operand as [Json, Json]).map((part) => evaluate(part, document)) as [Operand, Operand];
  const compare = COMPARISONS[operator];
  if (compare !== undefined) return compare(keyOf(left), keyOf(right));
  return calculated(operator, left, right);
}

function calculated(operator: string, left: Operand, right: Operand): Json {
  if (left !== undefined && right !== undefined) {
    const kinds = `${kindOf(left)} ${kindOf(right)}`;
    const floats = FLOATS[operator];
    if (floats !== undefined && kinds === "float64 float64") return floats(floatOf(left), floatOf(right));
    const integers = INTEGERS[operator];
    if (integers !== undefined && kinds === "int64 int64") {
      return encodeInteger(BigInt.asIntN(64, integers(integerOf(left), integerOf(right))));
    }
  }
  throw new FunctionError(`A filter cannot apply ${operator} to ${JSON.stringify(left)} and ${JSON.stringify(right)}.`);
}

function negated(value: Operand): Json {
  if (value !== undefined && kindOf(value) === "float64") return -floatOf(value);
  if (value !== undefined && kindOf(value) === "int64") return encodeInteger(BigInt.asIntN(64, -integerOf(value)));
  throw new FunctionError(`A filter cannot negate ${JSON.stringify(value)}.`);
}

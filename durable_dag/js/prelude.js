// Evaluated first in every fresh context; its value is the one function that the helper calls.
//
// The helper makes one line of it, so that a place in it is never taken for one in the foreign source: comments have
// lines of their own, statements end in semicolons.
//
// What it needs of the language it takes now, before foreign code can change it. That is for right answers, not for
// safety: whatever foreign code does to this function, all it can make of it is another string.
(() => {
  "use strict";
  const { parse, stringify } = JSON;
  const { apply, construct } = Reflect;
  const { keys } = Object;
  const { slice } = String.prototype;
  const { then } = Promise.prototype;
  const [Make, Later, Text, Internal] = [Function, Promise, String, InternalError];
  const sourceOf = Make.prototype.toString;
  const OUT_OF_MEMORY = '{"kind":"memory","name":"InternalError","message":"out of memory","stack":""}';
  const NAME_MAX = 200;
  const TEXT_MAX = 4000;

  // Threads and clocks for spying have no use here.
  for (const name of ["SharedArrayBuffer", "Atomics", "performance"]) delete globalThis[name];

  let answer = null;

  const text = (value, most) => apply(slice, Text(value), [0, most]);

  // Text of a part of what was thrown; its getters are foreign code and may throw themselves.
  const part = (thrown, key, most) => {
    try {
      const value = thrown[key];
      return value === undefined || value === null ? "" : text(value, most);
    } catch {
      return "";
    }
  };

  const told = (thrown) => {
    try {
      return text(typeof thrown === "object" && thrown !== null ? stringify(thrown) : thrown, TEXT_MAX);
    } catch {
      return "something that cannot be shown";
    }
  };

  // An answer is one object without a prototype: no foreign toJSON can speak for it. It is never put together from
  // strings, because long ones then become ropes, and those the binding does not know.
  const failed = (kind, thrown) => {
    try {
      const holder = (typeof thrown === "object" && thrown !== null) || typeof thrown === "function";
      const name = holder ? part(thrown, "name", NAME_MAX) : "";
      const message = (holder ? part(thrown, "message", TEXT_MAX) : "") || (name ? "" : told(thrown));
      const stack = holder ? part(thrown, "stack", TEXT_MAX) : "";
      const memory =
        // Null is what the engine throws when there is not even room for an error.
        thrown === null ||
        (thrown instanceof Internal && (message === "out of memory" || message === "string too long"));
      return stringify({ __proto__: null, kind: memory ? "memory" : kind, name, message, stack });
    } catch {
      return OUT_OF_MEMORY;
    }
  };

  const settled = (value, most) => {
    try {
      if (value === undefined) return '{"ok":null}';
      const out = stringify({ __proto__: null, ok: value });
      if (out === "{}") return failed("result", new TypeError(`a ${typeof value} is not a JSON value`));
      if (out.length > most) return failed("large", new RangeError(`${out.length} characters of JSON`));
      return out;
    } catch (thrown) {
      return failed("result", thrown);
    }
  };

  // The engine pastes a body between braces, so that one with braces of its own could end the function early: what
  // came out must be the function that went in.
  const compile = (names, body) => {
    const made = construct(Make, [...names, body]);
    const wanted = `function anonymous(${names.join(",")}\n) {\n${body}\n}`;
    if (apply(sourceOf, made, []) !== wanted) throw new SyntaxError("braces that do not match");
    return made;
  };

  // An expression must be one between round brackets as well as between square ones; no trick with either passes both.
  const compiled = (kind, names, source) => {
    if (kind === "body") return compile(names, source);
    const made = compile(names, `return (\n${source}\n)`);
    compile(names, `return [\n${source}\n]`);
    return made;
  };

  return (act, kind, source, variables, most) => {
    if (act === "poll") return answer;
    let named, names, made;
    const given = [];
    try {
      named = parse(variables);
      names = keys(named);
      for (let i = 0; i < names.length; i++) given[i] = named[names[i]];
    } catch (thrown) {
      return failed("input", thrown);
    }
    try {
      made = compiled(kind, names, source);
    } catch (thrown) {
      return failed("syntax", thrown);
    }
    if (act === "check") return '{"ok":null}';
    try {
      const value = apply(made, undefined, given);
      const object = (typeof value === "object" && value !== null) || typeof value === "function";
      if (!object || typeof value.then !== "function") return settled(value, most);
      const waited = new Later((resolve) => resolve(value));
      apply(then, waited, [
        (result) => { answer = settled(result, most); },
        (thrown) => { answer = failed("thrown", thrown); },
      ]);
      return null;
    } catch (thrown) {
      return failed("thrown", thrown);
    }
  };
})()

"""Nothing of the host can be reached, and nothing of a call is left behind."""

import json
from typing import Any

import pytest

from durable_dag.js import JsError, ProcessJs

pytestmark = pytest.mark.asyncio(loop_scope="module")

KNOWN_GLOBALS = """
Object Function Error EvalError RangeError ReferenceError SyntaxError TypeError URIError InternalError
AggregateError SuppressedError Iterator Array parseInt parseFloat isNaN isFinite queueMicrotask decodeURI
decodeURIComponent encodeURI encodeURIComponent escape unescape Infinity NaN undefined eval Number Boolean String
Math Reflect Symbol DisposableStack globalThis BigInt Date RegExp JSON Proxy Map Set WeakMap WeakSet ArrayBuffer
Uint8ClampedArray Int8Array Uint8Array Int16Array Uint16Array Int32Array Uint32Array BigInt64Array BigUint64Array
Float16Array Float32Array Float64Array DataView Promise AsyncDisposableStack WeakRef FinalizationRegistry
DOMException btoa atob
"""


async def test_there_are_no_globals_but_those_of_the_language(shared: ProcessJs) -> None:
    names = await shared.evaluate("Object.getOwnPropertyNames(globalThis)")
    assert isinstance(names, list)
    assert {str(name) for name in names} <= set(KNOWN_GLOBALS.split())


ESCAPES = (
    "(function(){}).constructor",
    "(()=>{}).constructor",
    "(async()=>{}).constructor",
    "(function*(){}).constructor",
    "Object.getPrototypeOf(async function*(){}).constructor",
    "[].constructor.constructor",
    "''['const'+'ructor']['const'+'ructor']",
    "context.constructor.constructor",
    "Reflect.get(class {}, 'constructor')",
    "globalThis['e'+'val'].constructor",
    "new Proxy(Function, {})",
)
# fmt: off
HOST = ("process", "require", "module", "fetch", "std", "os", "bjson", "scriptArgs", "print", "console", "setTimeout",
        "Worker", "XMLHttpRequest", "WebAssembly", "SharedArrayBuffer", "Atomics", "performance", "python", "load")
# fmt: on


@pytest.mark.parametrize("made", ESCAPES)
async def test_a_function_from_a_constructor_sees_no_host(shared: ProcessJs, made: str) -> None:
    seen = "+' '+".join(f"typeof {name}" for name in HOST)
    value = await shared.call(
        f"const F = {made}; const f = F('return {seen.replace(chr(39), chr(34))}'); const out = f();"
        "if (out && typeof out.next === 'function') { const first = out.next();"
        " return first.then ? first.then(x => x.value) : first.value } return out",
        {"context": {}},
    )
    assert value == " ".join(["undefined"] * len(HOST))


@pytest.mark.parametrize("template", ["`${%s}`", "`${`${%s}`}`", "String.raw`${%s}`", "eval(`%s`)", "eval('`${%s}`')"])
async def test_template_literals_are_only_strings(shared: ProcessJs, template: str) -> None:
    inner = "(()=>{}).constructor('return typeof process')()".replace("'", '"')
    assert await shared.evaluate(template % inner) == "undefined"


async def test_imports_find_nothing(shared: ProcessJs) -> None:
    for name in (
        "os",
        "std",
        "fs",
        "/etc/passwd",
        "./prelude.js",
        "file:///etc/passwd",
        "qjs:os",
        "data:text/javascript,1",
    ):
        with pytest.raises(JsError, match="could not load module"):
            await shared.call("return import(name)", {"name": name})


POLLUTIONS = (
    "Object.prototype.polluted = 1",
    "Object.prototype.toJSON = () => 'mine'",
    "Array.prototype.toJSON = () => 'mine'",
    "String.prototype.toJSON = () => 'mine'",
    'JSON.stringify = () => \'{"ok":"mine"}\'',
    "JSON.parse = () => ({mine: 1})",
    "Reflect.apply = () => 'mine'",
    "Object.keys = () => ['mine']",
    "Promise.prototype.then = function () { return 'mine' }",
    "Promise = class {}",
    "Function.prototype.toString = () => 'mine'",
    "Array.prototype[Symbol.iterator] = function* () { yield 'mine' }",
    "Object.defineProperty(Object.prototype, 'ok', {get: () => 'mine', set() {}})",
    "Object.defineProperty(Array.prototype, '0', {set() { throw 'mine' }})",
    "input.__proto__.polluted = 1",
    "Object.setPrototypeOf(globalThis, null)",
    "globalThis.undefined_ = 1; globalThis.input = 'mine'; var leaked = 1; leaked2 = 2",
    "Object.freeze(globalThis); Object.freeze(Object.prototype)",
)


@pytest.mark.parametrize("pollution", POLLUTIONS)
async def test_what_one_call_does_to_the_language_is_gone_in_the_next(shared: ProcessJs, pollution: str) -> None:
    fresh = (
        "return [Object.getOwnPropertyNames(globalThis).sort(), Object.getOwnPropertyNames(Object.prototype).sort(),"
        " ({}).polluted, [1], 'a', JSON.stringify({a: [input]}), Object.isFrozen(globalThis)]"
    )
    before = await shared.call(fresh, {"input": {"b": 1}})
    try:
        await shared.call(f"{pollution}; return input", {"input": {"a": [1]}})
    except JsError:
        pass  # its own call may well suffer
    assert await shared.call(fresh, {"input": {"b": 1}}) == before
    assert json.dumps(before).count("mine") == 0


async def test_a_forged_answer_is_only_a_value(shared: ProcessJs) -> None:
    forged = {"kind": "time", "name": "x", "message": "y", "stack": "z", "ok": 1}
    assert await shared.call("return input", {"input": forged}) == forged
    assert await shared.call("return JSON.stringify(input)", {"input": forged}) == json.dumps(
        forged, separators=(",", ":")
    )
    with pytest.raises(JsError) as caught:
        await shared.call("throw new InternalError('interrupted')")
    assert type(caught.value) is JsError


@pytest.mark.parametrize("key", ["__proto__", "constructor", "toJSON", "then", "ok"])
async def test_a_key_with_a_meaning_is_only_a_key(shared: ProcessJs, key: str) -> None:
    value: Any = {key: {"polluted": 1}}
    assert await shared.evaluate("value", {"value": value}) == value
    assert await shared.evaluate("({}).polluted === undefined", {"value": value}) is True
    assert await shared.evaluate("value", {"value": {"a": value}}) == {"a": value}

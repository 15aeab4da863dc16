"""Code that wants time, memory, a crash, or out: bodies of functions, and what they may end with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from durable_dag.js import JsError, JsFailure, JsMemory, JsResultError, JsSyntaxError, JsTimeout

__all__ = ["CORPUS", "Hostile"]

TIME: Final = (JsTimeout,)
MEMORY: Final = (JsMemory,)
EITHER: Final = (JsTimeout, JsMemory)
ANY: Final = (JsError,)  # of which those above are kinds: engines differ in what they refuse at once


@dataclass(frozen=True)
class Hostile:
    """One line of the corpus.

    Attributes:
        ends: The classes of errors it may end with; none where it returns ``value``.
    """

    name: str
    body: str
    ends: tuple[type[JsFailure], ...] = ()
    value: object = None


HUGE: Final = "{length: 9007199254740991}"

LOOPS = (
    Hostile("loop", "while(true){}", TIME),
    Hostile("loop-in-try", "while(true){try{while(true){}}catch(e){}finally{}}", TIME),
    Hostile("loop-in-finally", "try{throw 1}finally{while(true){}}", TIME),
    Hostile("proxy-trap", "const p=new Proxy({},{ownKeys(){while(true){}}});return Object.keys(p)", TIME),
    Hostile("to-json", "return {toJSON(){while(true){}}}", TIME),
    Hostile("getter-of-the-error", "throw {get message(){while(true){}}}", TIME),
    Hostile("getter-of-then", "return {get then(){while(true){}}}", TIME),
    Hostile("error-to-string", "InternalError.prototype.toString=()=>{while(1){}};while(true){}", TIME),
    Hostile("regex-nested-plus", "return /^(a+)+$/.test('a'.repeat(40)+'b')", TIME),
    Hostile("regex-two-pluses", "return /(x+x+)+y/.test('x'.repeat(200))", TIME),
    Hostile("regex-quadratic", "return /a*b/.test('a'.repeat(200000))", TIME),
    Hostile("set-that-grows", "const s=new Set([1]);for(const x of s){s.delete(x);s.add(x)}", TIME),
    Hostile("promise-loop", "return (async()=>{while(true)await 0})()", TIME),
    Hostile("then-loop", "return {then(f){f(this)}}", TIME),
    Hostile("job-that-loops", "return Promise.resolve().then(()=>{while(true){}})", TIME),
    Hostile("escaped-wrapper", "}); while(true){}; (function(){", TIME),
)

BOMBS = (
    Hostile("arrays", "let a=[];while(true)a.push(new Array(10000).fill(1.5))", MEMORY),
    Hostile("arrays-caught", "let a=[];while(true){try{a.push(new Array(10000).fill(1.5))}catch(e){}}", TIME),
    Hostile("objects", "let a=[];while(true)a.push({a:{b:{c:1}}})", MEMORY),
    Hostile("objects-of-the-globe", "globalThis.a=[];while(true)a.push({a:{b:{c:1}}})", MEMORY),
    Hostile("buffers", "let a=[];while(true)a.push(new ArrayBuffer(1e7))", MEMORY),
    Hostile("doubled-string", "let s='x';while(true)s+=s", MEMORY),
    Hostile("huge-fill", "return new Array(4e8).fill(0)", MEMORY),
    Hostile("huge-floats", "return new Float64Array(2e8)", MEMORY),
    Hostile("huge-sort", "return Array.from({length:3e7},(_, i)=>-i).sort()", EITHER),
    Hostile("huge-padding", "return 'x'.padEnd(5e8)", MEMORY),
    Hostile("bigint-power", "return 2n**(2n**34n)", ANY),
    Hostile("bigint-tower", "let x=3n;while(true)x=x*x", ANY),
    Hostile("endless-generator", "function*g(){while(true)yield 1} return [...g()]", EITHER),
    Hostile("doubled-tree", "let a=[1];for(let i=0;i<50;i++)a=[a,a];return a", EITHER),
    Hostile("flattened-tree", "let a=[1];for(let i=0;i<50;i++)a=[a,a];return a.flat(Infinity)", EITHER),
    Hostile("evaluated-sum", "return eval('1'+'+1'.repeat(3e6))", ANY),
)

NATIVE = (
    Hostile("huge-join", "return new Array(4294967295).join('')", TIME),
    Hostile("huge-string-of-array", "return String(new Array(4294967295))", TIME),
    *(
        Hostile(f"huge-{method}", f"return Array.prototype.{method}.call({HUGE}, {arguments})", ANY)
        for method, arguments in (
            ("reverse", ""),
            ("copyWithin", "0, 1"),
            ("splice", "0, 1"),
            ("unshift", "1"),
            ("slice", "0"),
            ("forEach", "x => x"),
            ("indexOf", "1"),
            ("includes", "1"),
            ("lastIndexOf", "1"),
            ("fill", "1"),
            ("sort", ""),
        )
    ),
    Hostile("huge-concat", "return [].concat(new Array(4294967290))", EITHER),
    Hostile("quadratic-search", "return ('a'.repeat(8e6)).indexOf('a'.repeat(4e6)+'b')", TIME),
    Hostile("endless-sorts", "const a=new Uint8Array(2e7);for(;;)a.sort()", TIME),
)

DEEP = (
    Hostile("recursion", "function f(n){return f(n+1)+1} f(0)", ANY),
    Hostile("deep-stringify", "let a=[];for(let i=0;i<200000;i++)a=[a];return JSON.stringify(a)", ANY),
    Hostile("deep-result", "let a=[];for(let i=0;i<200000;i++)a=[a];return a", (JsResultError,)),
    Hostile("deep-parse", "return JSON.parse('['.repeat(200000)+']'.repeat(200000))", ANY),
    Hostile("deep-source", "return new Function('return '+'('.repeat(1e5)+'1'+')'.repeat(1e5))()", ANY),
)

OUT = (
    Hostile("wait", "return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0)", ANY),
    Hostile("never-settles", "return new Promise(()=>{})", (JsResultError,)),
    Hostile("import", "return import('os')", ANY),
    Hostile(
        "constructor-of-constructor",
        "return (function(){}).constructor('return typeof process+typeof require+typeof fetch+typeof std+typeof os')()",
        value="undefined" * 5,
    ),
    Hostile("syntax", "return {{", (JsSyntaxError,)),
    Hostile("cycle", "const a={};a.a=a;return a", (JsResultError,)),
    Hostile("bigint-result", "return {a: 10n}", (JsResultError,)),
    Hostile("function-result", "return () => 1", (JsResultError,)),
    Hostile("large-result", "return 'x'.repeat(2e6)", (JsResultError,)),
    Hostile("large-error", "throw new Error('x'.repeat(2e6))", ANY),
)

CORPUS: Final = (*LOOPS, *BOMBS, *NATIVE, *DEEP, *OUT)

"""Arguments that are recorded (``record_input=True``): on their way into commits, and back for people to see.

They lie in the parts of their run, under the call's fingerprint, as a text in pieces (``durable.codec.pieces``); the
pieces are parts, too. A piece that the journal has, as a step's result or a signal, is not stored a second time: it is
found there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, final

from durable._author.calls import StepSpec
from durable._author.definitions import LIST_BYTES
from durable._core.call import Call
from durable._core.state import RunState
from durable._model.commits import Part
from durable._model.defaults import COMMIT_ITEMS_MAX, PAYLOAD_BYTES_MAX
from durable._model.entries import CallKind, Entry, Settled
from durable.clock import Clock
from durable.codec import Codec
from durable.codec.pieces import joined, lightened, references, shares, split
from durable.errors import PayloadTooLarge

__all__ = ["Inputs", "Recorder", "recorder_of"]

_KNOWN_MAX: Final = 4096  # names; forgetting them costs a commit that says again what the store has
_PAGE: Final = 500
_SHARED: Final = (CallKind.STEP, CallKind.SIGNAL)
_INPUT_BYTES_MAX: Final = 16 * PAYLOAD_BYTES_MAX


def recorder_of(state: RunState, codec: Codec, clock: Clock) -> Recorder:
    """The one of a run that is held."""
    found: Recorder | None = state.recorder
    if found is None:
        found = state.recorder = Recorder(codec, clock)
    return found


@final
class Recorder:
    """Knows what of a run's arguments the store has, as far as this worker has said it; the store knows better.

    With a payload hook the names of pieces are drawn with a key that is never written down, so that they tell nothing
    about what the hook hides; another worker's names are others, and it stores anew what it meets.
    """

    __slots__ = ("_codec", "_key", "_known", "_position", "_said")

    def __init__(self, codec: Codec, clock: Clock) -> None:
        self._codec = codec
        self._key = clock.token().encode() if codec.hooked else b""
        self._known: set[str] = set()
        self._said: set[str] = set()  # in the last commit, of which it is not known whether it was applied
        self._position = 0  # of that commit

    def parts(self, state: RunState, entries: Sequence[Entry]) -> tuple[Part, ...]:
        """What goes with a commit of these entries: arguments of settled steps that are declared so.

        Those over the limit are left out: the step has failed for it, or began under another limit.
        """
        self._remember(state)
        calls: dict[str, Call] = {}
        for entry in entries:
            call = _recorded(state, entry)
            if call is not None and call.fingerprint not in self._known:
                calls[call.fingerprint] = call
        found: list[Part] = []
        for call, after in zip(calls.values(), range(len(calls) - 1, -1, -1), strict=True):
            found += self._of(call, COMMIT_ITEMS_MAX - len(found) - after - 1)
        self._said.update(part.hash for part in found)
        if not self._codec.hooked:
            for entry in entries:
                self._said.update(_shared(entry))
        return tuple(found)

    def weight(self, state: RunState, entry: Entry) -> int:
        """How many bytes of arguments may go with an entry."""
        call = _recorded(state, entry)
        return 0 if call is None or call.raw is None or call.fingerprint in self._known else len(call.raw)

    def _of(self, call: Call, room: int) -> list[Part]:
        assert call.raw is not None
        what = f"arguments of step {call.name!r}"
        try:
            self._codec.check(call.raw, what, framing=LIST_BYTES)
        except PayloadTooLarge:
            return []
        text, pieces = split(call.raw, self._key)
        text, pieces = lightened(text, pieces, self._has, max(0, room), self._key)
        self._said.update(pieces)
        texts = {call.fingerprint: text, **pieces}
        return [Part(name, self._codec.seal(data, what, framing=LIST_BYTES)) for name, data in texts.items()]

    def _has(self, name: str) -> bool:
        return name in self._known or name in self._said

    def _remember(self, state: RunState) -> None:
        if state.position > self._position:
            self._known |= self._said  # else the store has refused that commit, and it is said again
        self._said, self._position = set(), state.position
        if len(self._known) > _KNOWN_MAX:
            self._known.clear()


def _recorded(state: RunState, entry: Entry) -> Call | None:
    if not isinstance(entry, Settled) or entry.kind is not CallKind.STEP:
        return None
    call = state.calls.get(entry.call)
    if call is None or call.raw is None:
        return None
    spec: StepSpec = call.spec
    return call if spec.policy.record_input else None


def _shared(entry: Entry) -> dict[str, bytes]:
    if isinstance(entry, Settled) and entry.ok and entry.kind in _SHARED:
        return shares(entry.payload)
    return {}


@final
class Inputs:
    """Recorded arguments of the steps of one journal.

    Args:
        ask: The run's parts by hash; absent ones are left out.
    """

    def __init__(self, codec: Codec, ask: Callable[[Sequence[str]], Awaitable[Mapping[str, bytes]]]) -> None:
        self._codec = codec
        self._ask = ask
        self._texts: dict[str, bytes] = {}
        self._bytes_max = max(_INPUT_BYTES_MAX, codec.payload_bytes_max + LIST_BYTES)

    async def read(self, entries: Sequence[Entry]) -> None:
        """Read what the store has of them; what it has not may be in the journal itself."""
        settled = [entry for entry in entries if isinstance(entry, Settled)]
        wanted = await self._asked(dict.fromkeys(entry.fingerprint for entry in settled if entry.fingerprint))
        if wanted and not self._codec.hooked:
            for entry in settled:
                self._texts |= _shared(entry)
        asked: set[str] = set()
        while wanted := {name: None for name in wanted if name not in asked and name not in self._texts}:
            asked.update(wanted)
            wanted = await self._asked(wanted)

    def get(self, fingerprint: str) -> bytes | None:
        """Encoded arguments; None if they are not recorded, or a piece of them is absent or cannot be read."""
        text = self._texts.get(fingerprint)
        return None if text is None else joined(text, self._texts.get, self._bytes_max)

    async def _asked(self, names: Iterable[str]) -> dict[str, None]:
        """Ask the store for parts; the names of the pieces they are made of."""
        found: dict[str, None] = {}
        left = iter(names)
        while page := list(islice(left, _PAGE)):
            for hash, data in (await self._ask(page)).items():
                try:
                    text = self._texts[hash] = self._codec.open(data)
                except Exception:  # a hook without the right key: the rest of the history is still worth reading
                    continue
                found |= dict.fromkeys(references(text))
        return found

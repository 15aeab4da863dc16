"""What a worker believes the store to have of a run's arguments: only what was applied."""

from pydantic_core import to_json

from durable import step
from durable._author.calls import StepSpec
from durable._core.call import Call
from durable._core.state import RunFacts, RunState
from durable._engine.recording import Inputs, Recorder
from durable._model.commits import Part
from durable._model.entries import CallKind, Settled
from durable._model.ids import CallId
from durable.clock import SystemClock
from durable.codec import Arguments, Codec
from durable.store import COMMIT_ITEMS_MAX

TALK = [f"{n} " + "word " * 300 for n in range(6)]


@step(record_input=True)
async def ask(messages: list[str], turn: int) -> str:
    return ""


class Held:
    """A run in memory, and what it says."""

    def __init__(self, codec: Codec | None = None) -> None:
        self.codec = codec or Codec()
        self.state = RunState(RunFacts("r", 1, "5eed", 0.0))
        self.recorder = Recorder(self.codec, SystemClock())

    def settled(self, turn: int, messages: list[str], result: str = "") -> Settled:
        raw = to_json([messages, turn])
        id = CallId(f"0/step/ask#{turn}")
        call = Call(id, CallKind.STEP, "ask", Arguments.fingerprint(raw), StepSpec.of(ask), 0.0)
        call.raw = raw
        self.state.calls[id] = call
        return Settled(CallKind.STEP, id, call.fingerprint, True, to_json(result), 1)

    def says(self, *entries: Settled, applied: bool = True) -> tuple[Part, ...]:
        parts = self.recorder.parts(self.state, entries)
        if applied:
            self.state.position += len(entries)
        return parts


def names(parts: tuple[Part, ...]) -> set[str]:
    return {part.hash for part in parts}


def test_what_was_applied_is_not_said_again() -> None:
    run = Held()
    first = run.says(run.settled(1, TALK))
    second = run.says(run.settled(2, [*TALK, "new " * 500]))
    assert len(first) == 1 + len(TALK)
    assert len(second) == 2
    assert not names(first) & names(second)


def test_what_the_store_has_refused_is_said_again() -> None:
    """A commit with a timer that was not due: its outcomes go with a later one."""
    run = Held()
    entry = run.settled(1, TALK)
    first = run.says(entry, applied=False)
    assert run.says(entry) == first
    assert run.says(entry) == ()
    refused = run.says(run.settled(2, [*TALK, "new " * 500], "answer " * 200), applied=False)
    other = run.says(run.settled(3, ["new " * 500, "answer " * 200]))
    assert names(refused) & names(other)
    assert len(other) == 3


def test_calls_of_one_commit_share_their_pieces() -> None:
    run = Held()
    parts = run.says(*(run.settled(turn, TALK) for turn in range(20)))
    assert len(parts) == 20 + len(TALK)
    assert len(names(parts)) == len(parts)


def test_each_call_of_a_full_commit_is_recorded_within_its_limit() -> None:
    run = Held()
    entries = [run.settled(turn, [f"{turn} {text}" for text in TALK]) for turn in range(100)]
    parts = run.says(*entries)
    assert len(parts) == COMMIT_ITEMS_MAX
    assert names(parts) >= {entry.fingerprint for entry in entries}


def test_what_a_worker_remembers_of_a_run_is_bounded() -> None:
    run = Held()
    for turn in range(120):
        run.says(run.settled(turn, [f"{turn} {n} " + "word " * 200 for n in range(90)]))
        assert len(run.recorder._known) <= 4096
    assert run.recorder._known


async def test_a_result_is_known_as_soon_as_it_is_in_the_journal_and_found_there() -> None:
    run = Held()
    answer = "answer " * 500
    entries = [run.settled(1, [], answer), run.settled(2, [answer])]
    parts = (*run.says(entries[0]), *run.says(entries[1]))
    assert sum(len(part.data) for part in parts) < 500
    held = {part.hash: part.data for part in parts}
    asked: list[str] = []

    async def ask_for(hashes: object) -> dict[str, bytes]:
        asked.extend(list(hashes))  # type: ignore[call-overload]
        return {hash: held[hash] for hash in asked if hash in held}

    inputs = Inputs(run.codec, ask_for)
    await inputs.read(entries)
    assert inputs.get(entries[1].fingerprint) == to_json([[answer], 2])
    assert inputs.get("never") is None
    assert sorted(asked) == sorted(entry.fingerprint for entry in entries)

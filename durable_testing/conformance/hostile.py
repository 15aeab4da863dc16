"""Hostile text: whatever passes as a name or a payload comes back as it went in, and is never syntax."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from durable.errors import InvalidInput
from durable.store import (
    Blocked,
    Cancel,
    Closed,
    Control,
    DeadLetter,
    Emit,
    Ended,
    Lane,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    Parent,
    Part,
    Pause,
    RunId,
    RunQuery,
    RunStatus,
    SessionId,
    Store,
    VerbOutcome,
    Wait,
    WaitKind,
    Want,
    WorkerSession,
)
from durable_testing.conformance.bench import ALL_BYTES, Bench, Grip
from durable_testing.memory import MemoryStore

__all__ = ["HostileText"]

HOSTILE = (
    "it's",
    'say "hi"',
    "'; DROP TABLE runs; --",
    "100%",
    "under_score",
    "back\\slash",
    "a/b/../c",
    " spaces around ",
    "🦊 astral 𝔘",
    "שלום مرحبا",
    "\u202eright to left",
    "é",  # and the same letter in two characters, which is another name:
    "e\u0301",
    "CASE",
    "case",
    "0",
    "None",
    "null",
    "{}",
    "[1]",
    "$1 ?1 :a @a",
    "ß" * 127,
    "x" * 255,
)

_SYNTAX = "'\"\\;-%_[]*?{}$.:@/ ,()<>|&#^`~\u00e9\u0301\u202e\U0001f98aaA0"


def _syntax(dice: Random, *, nul: bool = False) -> str:
    """A short text of characters that mean something to somebody."""
    return "".join(dice.choices(_SYNTAX + ("\x00" if nul else ""), k=dice.randint(1, 6)))


def _labels(dice: Random, texts: Sequence[str]) -> dict[str, str]:
    return {dice.choice(texts[:5]): dice.choice(texts[:5]) for _ in range(dice.randint(0, 3))}


def _query(dice: Random, texts: Sequence[str]) -> RunQuery:
    """One that finds something more often than not; now and then with a text that no run has."""

    def text() -> str:
        return dice.choice(texts) if dice.random() < 0.8 else _syntax(dice, nul=True)

    match dice.randint(0, 4):
        case 0:
            return RunQuery(id_prefix=text()[: dice.randint(1, 3)])
        case 1:
            return RunQuery(queue=text())
        case 2:
            return RunQuery(workflow=text(), id_prefix=text()[:1])
        case 3:
            return RunQuery(labels={dice.choice(texts[:5]): dice.choice(texts[:5])})
        case _:
            return RunQuery(labels={text(): text()}, parent=RunId(text()) if dice.random() < 0.2 else None)


async def pages(store: Store, query: RunQuery) -> list[RunId]:
    """The ids of all that match, read in pages of seven."""
    found: list[RunId] = []
    cursor: str | None = None
    while True:
        page = await store.list(query, 7, cursor)
        found += [row.id for row in page.runs]
        cursor = page.cursor
        if cursor is None:
            return found


class HostileText(Bench):
    """One pass with every hostile text in every place that takes text."""

    async def test_hostile_names_come_back_as_they_went_in(self) -> None:
        for text in HOSTILE:
            await self.live(text)
        assert await self.store.count(RunQuery()) == len(HOSTILE)
        for text in HOSTILE:
            assert await self.store.count(RunQuery(workflow=text)) == 1, text
            assert await self.store.count(RunQuery(queue=text)) == 1, text
            assert await self.store.count(RunQuery(parent=RunId(text))) == 1, text
            assert await self.store.count(RunQuery(labels={text: text})) == 1, text

    async def live(self, text: str) -> None:
        """One run whose every text is ``text``, from its creation to its end."""
        run = RunId(text)
        parent = Parent(run, text, 1, "abandon", notify=False)
        new = NewRun(
            run, text, text, text, ALL_BYTES, text, text, labels={text: text}, parent=parent, on_complete=ALL_BYTES
        )
        await self.store.create([new])
        session = WorkerSession(SessionId(text), text, 15.0, ((text, text),), (text,))
        poll = await self.store.poll(session, Want(text, (Lane(text, text, text),), 1))
        (claim,) = poll.claims
        row = claim.run
        assert (row.id, row.workflow, row.version, row.queue, row.owner) == (text,) * 5
        assert (row.seed, row.digest, dict(row.labels), row.parent) == (text, text, {text: text}, parent)
        assert (claim.input, row.on_complete) == (ALL_BYTES, ALL_BYTES)
        await self.fill(Grip(self.store, claim), text)

    async def fill(self, grip: Grip, text: str) -> None:
        run = grip.run
        message = Message(run, MessageId(text), MessageKind.SIGNAL, text, text.encode())
        await self.store.send([message])
        await grip.commit(
            text.encode(),
            dead=(DeadLetter(MessageId(text), text),),
            values=((text, text.encode()),),
            emits=(Emit(text, text.encode()),),
            parts=(Part(text, text.encode()),),
            waits=(Wait(WaitKind.RETRY, text, text, 1.0, error=text),),
        )
        (letter,) = await self.store.messages(run, unread_only=False)
        assert (letter.message, letter.dead) == (message, text)
        assert dict(await self.store.values(run)) == {text: text.encode()}
        assert (await self.store.stream(run, text)).items == (text.encode(),)
        assert dict(await self.store.parts(run, [text])) == {text: text.encode()}
        row = await self.row(text)
        assert (row.waits[0].name, row.waits[0].call, row.waits[0].error) == (text, text, text)
        await grip.commit(then=Ended(RunStatus.FAILED, text.encode(), error=text))
        assert (await self.row(text)).error == text
        assert await self.store.outcome(run) == text.encode()
        put = await self.store.put_record(text, text, text.encode())
        assert await self.store.get_record(text, text) == put

    async def test_hostile_reasons_and_requests_come_back_as_they_went_in(self) -> None:
        for n, text in enumerate(HOSTILE):
            grip = await self.grip(f"blocked {n}")
            await grip.commit(then=Blocked(text, text, text))
            row = await self.row(f"blocked {n}")
            assert (row.blocked, row.blocked_kind, row.blocked_call) == (text, text, text)
            await self.create(f"paused {n}")
            (answer,) = await self.store.control([Control(RunId(f"paused {n}"), text, Pause())])
            assert answer.outcome is VerbOutcome.DONE
            await self.create(f"cancelled {n}")
            await self.control(Cancel(text, ALL_BYTES, ALL_BYTES), f"cancelled {n}", text)
            assert (await self.row(f"cancelled {n}")).error == text
            await (await self.worker(f"closer {n}").one()).commit(then=Closed())

    async def test_names_that_differ_only_in_case_or_composition_are_different_runs(self) -> None:
        for one, other in (("CASE", "case"), ("é", "e\u0301"), ("a", "a ")):
            await self.create(one)
            await self.create(other)
            assert (await self.row(one)).digest == f"digest of {one}"
            assert (await self.row(other)).digest == f"digest of {other}"

    async def test_a_payload_of_a_mebibyte_comes_back_whole(self) -> None:
        payload = ALL_BYTES * 4096
        grip = await self.grip(input=payload)
        assert grip.claim.input == payload
        await self.send("m", payload=payload)
        await grip.commit(payload, values=(("k", payload),))
        await grip.commit(then=Ended(RunStatus.COMPLETED, payload))
        assert await self.store.outcome(RunId("r")) == payload
        assert await self.entries() == [payload]
        assert (await self.unread())[0].message.payload == payload

    async def test_texts_that_are_syntax_elsewhere_are_found_as_the_memory_store_finds_them(self) -> None:
        model = MemoryStore(clock=self.clock)
        await model.open()
        dice = Random(2026)
        texts = sorted({_syntax(dice) for _ in range(60)} | set(HOSTILE))
        runs = [
            NewRun(
                RunId(text),
                dice.choice(texts),
                None,
                dice.choice(texts),
                b"[]",
                text,
                text,
                labels=_labels(dice, texts),
            )
            for text in texts
        ]
        for run in runs:
            self.clock.advance(dice.choice((0.0, 0.5)))
            for store in (model, self.store):
                await store.create([run])
                await store.put_record(run.queue, run.id, run.id.encode())
        for _ in range(150):
            query, kind, key = _query(dice, texts), dice.choice(texts), _syntax(dice, nul=True)
            assert await pages(self.store, query) == await pages(model, query), query
            assert await self.store.count(query) == await model.count(query), query
            for known in (key, dice.choice(texts)):
                assert await self.store.get_record(kind, known) == await model.get_record(kind, known)
                found = await self.store.list_records(kind, known)
                assert list(found) == list(await model.list_records(kind, known)), (kind, known)
        await model.close()

    async def test_a_cursor_that_is_not_one_is_refused(self) -> None:
        for text in HOSTILE:
            await self.create(text)
        page = await self.store.list(RunQuery(), 3)
        assert page.cursor is not None
        foreign = ["", " ", "nul\x00", "\ud800", "x" * 100_000, *HOSTILE, page.cursor[:-3], page.cursor + "'--"]
        for cursor in foreign:
            try:
                found = (await self.store.list(RunQuery(), 1_000, cursor)).runs
            except InvalidInput as error:
                assert len(str(error)) < 1_000
            else:  # it can be read, and leads to some place in the list, never to another kind of row
                assert {row.id for row in found} <= set(map(RunId, HOSTILE)), cursor

    async def test_times_are_kept_to_the_microsecond(self) -> None:
        self.clock.advance(0.123457)
        now = self.clock.now()
        await self.create(delay_seconds=0.000001)
        row = await self.row()
        assert row.created_at == now
        assert row.due_at == now + 0.000001

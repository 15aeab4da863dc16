"""The timeline: a run's facts in, lines of text out."""

from typing import Any

from durable._model.entries import AttemptBegun, AttemptFailed, CallKind, CancelAsked, Entry, Settled
from durable.cli.ink import painted, plain
from durable.cli.picture import Picture, picture_of
from durable.cli.timeline import Canvas, draw, headline
from durable.codec import Codec, dump_error
from durable.store import CallId, RunId, RunRecord, RunStatus, Wait, WaitKind

CODEC = Codec()


def record(status: RunStatus = RunStatus.COMPLETED, *, waits: tuple[Wait, ...] = (), **fields: Any) -> RunRecord:
    ended = status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
    values: dict[str, Any] = {
        "id": RunId("r1"),
        "workflow": "order",
        "version": "1",
        "queue": "default",
        "priority": 0,
        "status": status,
        "generation": 1,
        "epoch": 1,
        "position": 0,
        "flushed": (0, 0),
        "strikes": 0,
        "tries": 0,
        "seed": "s",
        "digest": "d",
        "created_at": 100.0,
        "started_at": 100.0,
        "at": 110.0,
        "ended_at": 110.0 if ended else None,
        "due_at": None,
        "owner": None,
        "labels": {},
        "parent": None,
        "on_complete": None,
        "waits": waits,
        "blocked": None,
        "blocked_kind": None,
        "blocked_call": None,
        "error": None,
        "terminated": False,
        "closing": False,
        "rewind": None,
    }
    return RunRecord(**{**values, **fields})


def done(call: str, *, ok: bool = True, attempt: int = 1, error: str = "no") -> Settled:
    kind = CallKind(call.split("/")[1])
    payload = CODEC.seal(b"1" if ok else dump_error(ValueError(error)), "test")
    return Settled(kind, CallId(call), "", ok, payload, attempt if kind is CallKind.STEP else 0)


def failed(call: str, attempt: int, delay: float, error: str = "no answer") -> AttemptFailed:
    return AttemptFailed(CallId(call), "", attempt, delay, CODEC.seal(dump_error(ConnectionError(error)), "test"))


def begun(call: str, attempt: int = 1) -> AttemptBegun:
    return AttemptBegun(CallId(call), "", attempt)


def picture(*journal: tuple[Entry, float], run: RunRecord | None = None, now: float = 110.0) -> Picture:
    return picture_of(record() if run is None else run, journal, now, CODEC)


def lines(shown: Picture, **canvas: Any) -> list[str]:
    return [plain(line) for line in draw(shown, Canvas(**{"columns": 80, **canvas}))]


def test_a_step_begins_when_the_one_before_it_was_delivered() -> None:
    rows = picture((begun("0/step/a#0"), 100.1), (done("0/step/a#0"), 104.0), (begun("0/step/b#0"), 104.2)).rows
    assert [(row.name, row.begin, row.end) for row in rows] == [("a", 100.0, 104.0), ("b", 104.0, 110.0)]


def test_siblings_that_began_together_are_drawn_side_by_side() -> None:
    rows = picture(
        (begun("0/step/a#0"), 100.2),
        (begun("0/step/b#0"), 100.2),
        (done("0/step/a#0"), 104.0),
        (done("0/step/b#0"), 108.0),
    ).rows
    assert [(row.name, row.begin) for row in rows] == [("a", 100.0), ("b", 100.0)]


def test_a_step_that_left_no_note_was_short() -> None:
    rows = picture((done("0/signal/go#0"), 103.0), (done("0/step/a#0"), 109.0)).rows
    assert [row.begin for row in rows] == [100.0, 108.5]


def test_attempts_and_the_waits_between_them_are_told_apart() -> None:
    (row,) = picture(
        (failed("0/step/a#0", 1, 2.0), 101.0), (begun("0/step/a#0", 2), 103.2), (done("0/step/a#0", attempt=2), 105.0)
    ).rows
    assert [(bar.start, bar.end, bar.stroke) for bar in row.bars] == [
        (100.5, 101.0, "bad"),
        (101.0, 103.0, "backoff"),
        (103.0, 105.0, "ok"),
    ]
    assert (row.attempts, row.state) == (2, "ok")


def test_a_back_off_that_has_not_ended_ends_now() -> None:
    wait = Wait(WaitKind.RETRY, "a", "0/step/a#0", 101.0, 109.0, 2, 5, "ConnectionError: no answer")
    run = record(RunStatus.WAITING, waits=(wait,))
    (row,) = picture((failed("0/step/a#0", 1, 8.0), 101.0), run=run, now=104.0).rows
    assert (row.bars[-1].end, row.state, row.attempts) == (104.0, "backoff", 1)
    assert row.note == "ConnectionError: no answer"


def test_what_a_run_waits_for_has_a_row() -> None:
    waits = (
        Wait(WaitKind.TIMER, "pack", "0/timer/pack#0", 101.0, 200.0),
        Wait(WaitKind.SIGNAL, "go", "0.1/signal/go#0", 102.0),
        Wait(WaitKind.CHILD, "r1.abc", "0.2/child/sub#0", 103.0),
    )
    rows = picture(run=record(RunStatus.WAITING, waits=waits)).rows
    assert [(row.kind, row.name, row.state, row.end) for row in rows] == [
        ("timer", "pack", "waiting", None),
        ("signal", "go", "waiting", None),
        ("child", "sub", "waiting", None),
    ]


def test_what_an_ended_run_left_behind_is_dropped() -> None:
    run = record(RunStatus.CANCELLED)
    rows = picture((begun("0/step/a#0"), 101.0), (CancelAsked("cancel", b""), 105.0), run=run).rows
    assert {row.name: row.state for row in rows} == {"a": "dropped", "asked to end": "dropped"}


def test_bars_are_drawn_in_eighths_of_a_column() -> None:
    shown = picture((begun("0/step/a#0"), 100.1), (done("0/step/a#0"), 105.0), (done("0/timer/pack#0"), 110.0))
    assert lines(shown) == [
        "  STEP       TRY     TIME  0                         5.0 s                10.0 s",
        "✓ a            1    5.0 s  ██████████████████████████▌",
        "✓ timer pack        5.0 s                            ───────────────────────────",
    ]


def test_the_picture_has_an_ascii_form() -> None:
    shown = picture((failed("0/step/a#0", 1, 5.0, "größer"), 100.5), (done("0/step/a#0", ok=False, attempt=2), 110.0))
    drawn = lines(shown, unicode=False)
    assert "\n".join(drawn).replace("ß", "").replace("ö", "").isascii()
    assert drawn[1].startswith("x a      2   10.0 s  xx-----")
    assert drawn[2] == "  ` ValueError: no"


def test_bars_are_left_out_of_a_narrow_terminal() -> None:
    shown = picture((done("0/step/a#0"), 105.0))
    assert lines(shown, columns=69) == ["  STEP TRY     TIME", "✓ a      1   500 ms"]
    assert len(lines(shown, columns=70)[1]) > 20


def test_no_line_is_wider_than_the_terminal() -> None:
    shown = picture((failed("0/step/a#0", 1, 5.0, "long " * 80), 100.5), (done(f"0/step/{'n' * 90}#0"), 110.0))
    for columns in (30, 70, 80, 200):
        assert max(map(len, lines(shown, columns=columns))) <= columns


def test_more_than_sixty_steps_are_grouped_by_name() -> None:
    journal = [(done(f"0.{n}/step/item#{n}" if n % 2 else f"0/step/item#{n}"), 101.0 + n / 100) for n in range(61)]
    assert len(lines(picture(*journal[:60]))) == 61
    drawn = lines(picture(*journal, (done("0/step/bad#0", ok=False), 109.0)))
    assert [line[:12].strip() for line in drawn[1:3]] == ["✓ item x61", "✗ bad"]
    assert len(lines(picture(*journal), every=True)) == 62


def test_too_many_names_are_cut_in_the_middle() -> None:
    shown = picture(*((done(f"0/step/s{n}#0"), 101.0 + n / 100) for n in range(100)))
    drawn = lines(shown)
    assert len(drawn) == 62
    assert drawn[31] == "  … 40 more"
    assert len(lines(shown, rows=10)) == 12


def test_hostile_names_and_errors_cannot_steer_the_terminal() -> None:
    name = "\x1b[2Jcharge\nfake line"
    shown = picture((done(f"0/step/{name}#0", ok=False, error="\x1b]0;title\x07"), 105.0))
    run = record(RunStatus.FAILED, id=RunId("\x1b[31mr"), workflow="w\n")
    for line in [*draw(shown, Canvas(100)), headline(run, 110.0, Canvas(100))]:
        assert plain(line).isprintable()
    assert "\\x1b[2Jcharge\\nfake line" in lines(shown)[1]


def test_colours_say_the_outcome() -> None:
    line = draw(picture((done("0/step/a#0", ok=False), 105.0)), Canvas(80))[1]
    assert painted(line, colored=True).startswith("\x1b[31m✗ \x1b[0ma")
    assert "\x1b" not in painted(line, colored=False)


def test_the_headline_says_id_workflow_status_and_times() -> None:
    assert plain(headline(record(), 130.0, Canvas(80))) == "✓ r1  order v1  completed  10.0 s  started 30.0 s ago"
    fresh = record(RunStatus.PENDING, started_at=None, version=None)
    assert plain(headline(fresh, 130.0, Canvas(80, unicode=False))) == "o r1  order  pending  created 30.0 s ago"
    killed = record(RunStatus.CANCELLED, terminated=True, generation=3)
    assert "terminated" in plain(headline(killed, 130.0, Canvas(80)))
    assert "generation 3" in plain(headline(killed, 130.0, Canvas(80)))


def test_a_fork_is_as_old_as_itself() -> None:
    assert "  2.0 s  " in plain(headline(record(created_at=108.0), 130.0, Canvas(80)))

"""The demo's proof, given true and forged evidence; and its input, given good and bad lines."""

from pathlib import Path

import pytest

from durable._model.entries import AttemptFailed, CallKind, Entry, Settled
from durable.cli.demo.ledger import Line, read_ledger
from durable.cli.demo.orders import PACKAGED, Expected, expected, read_orders
from durable.cli.demo.proof import Evidence, Proof, prove
from durable.cli.failures import Failure
from durable.store import CallId

PLAN = {"o1": Expected("completed", frozenset({"pay", "ship"}))}
ALIVE, DEAD = 10, 11


def settled(name: str, at: float, *, ok: bool = True) -> tuple[Entry, float]:
    return Settled(CallKind.STEP, CallId(f"0/step/{name}#0"), "", ok, b"", 1), at


def failed(name: str, at: float) -> tuple[Entry, float]:
    return AttemptFailed(CallId(f"0/step/{name}#0"), "", 1, 0.1, b""), at


def line(mark: str, name: str, at: float, pid: int = ALIVE, run: str = "o1") -> Line:
    return Line(at, mark, pid, run, name, 1, f"{run}/1/0/step/{name}#0")  # type: ignore[arg-type]


JOURNAL = [settled("pay", 2.0), settled("ship", 4.0)]
LEDGER = [line("begin", "pay", 1.0), line("end", "pay", 1.9), line("begin", "ship", 3.0), line("end", "ship", 3.9)]


def proof(
    ledger: list[Line] = LEDGER,
    journal: list[tuple[Entry, float]] = JOURNAL,
    *,
    status: str = "completed",
    state: str | None = "completed",
    broken: list[str] | None = None,
) -> Proof:
    evidence = {"o1": Evidence(status, state, 1, journal)}
    return prove(PLAN, evidence, ledger, broken or [], {DEAD})


def against(found: Proof) -> list[str]:
    assert not found.holds
    return [text for check in found.checks for text in check.against]


def test_what_happened_as_it_should_is_proven() -> None:
    found = proof()
    assert found.holds
    assert found.checks[-1].claim == "commits run twice: 0"
    assert (dict(found.effects), found.repeats, found.happened_twice) == ({"pay": 1, "ship": 1}, 0, 0)


def test_an_effect_that_lost_its_worker_may_begin_again() -> None:
    again = [line("begin", "pay", 0.5, DEAD), line("end", "pay", 0.8, DEAD), *LEDGER]
    found = proof(again)
    assert found.holds
    assert (found.repeats, found.happened_twice) == (1, 1)


def test_a_failed_attempt_is_no_repeat() -> None:
    ledger = [line("begin", "pay", 0.2), line("error", "pay", 0.3), *LEDGER]
    found = proof(ledger, [failed("pay", 0.4), *JOURNAL])
    assert found.holds
    assert (found.repeats, found.retries) == (0, 1)


def test_a_begin_after_the_commit_is_caught() -> None:
    found = proof([*LEDGER, line("begin", "pay", 2.5, DEAD)])
    assert found.checks[-1].claim == "commits run twice: 1"
    assert against(found) == [f"o1/1/0/step/pay#0 began in process {DEAD} 500.0 ms after its commit"]


def test_an_outcome_that_was_committed_twice_is_caught() -> None:
    assert "o1/1/0/step/pay#0 was committed 2 times" in against(proof(journal=[*JOURNAL, settled("pay", 5.0)]))


def test_a_repeat_without_a_kill_is_caught() -> None:
    found = against(proof([line("begin", "pay", 0.5), *LEDGER]))
    assert found == [f"o1/1/0/step/pay#0 began in process {ALIVE}, which was not killed, and led to no outcome"]


def test_a_lost_order_and_a_wrong_end_are_caught() -> None:
    assert "o1 is failed, not completed" in against(proof(status="failed", state=None))
    assert "o1 is refused, not completed" in against(proof(state="refused"))
    assert "o1 is waiting, not completed" in against(proof(status="waiting", state=None))
    assert "o1 is not in the store" in against(prove(PLAN, {}, [], [], set()))
    stranger = {"o1": Evidence("completed", "completed", 1, JOURNAL), "o2": Evidence("completed", "completed", 1, [])}
    assert "o2 was never ordered" in against(prove(PLAN, stranger, LEDGER, [], set()))


def test_an_effect_too_few_or_too_many_is_caught() -> None:
    few = against(proof(LEDGER[:2], JOURNAL[:1]))
    assert few == ["o1 has {'pay': 1}, not one each of ['pay', 'ship']"]
    more = [*LEDGER, line("begin", "gift", 5.0), line("end", "gift", 5.1)]
    assert any("'gift': 1" in text for text in against(proof(more, [*JOURNAL, settled("gift", 6.0)])))


def test_a_commit_without_an_effect_is_caught() -> None:
    assert any("has 1 committed outcomes, but begins for 0" in text for text in against(proof(LEDGER[2:])))
    assert any("the ledger has no end of it" in text for text in against(proof([LEDGER[0], *LEDGER[2:]])))


def test_a_line_that_belongs_to_nothing_is_caught() -> None:
    assert against(proof([*LEDGER, line("begin", "pay", 1.0, run="o9")])) == [
        f"pay of order o9 (key o9/1/0/step/pay#0, process {ALIVE})"
    ]
    assert against(proof(broken=['{"at": 1'])) == ["a line that cannot be read: '{\"at\": 1'"]


def test_a_torn_line_of_the_ledger_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(
        b'{"at": 1.0, "mark": "begin", "pid": 1, "order": "o", "step": "s", "attempt": 1, "key": "k"}\n{"at'
    )
    lines, broken = read_ledger(path)
    assert ([line.step for line in lines], broken) == (["s"], ['{"at'])
    assert read_ledger(tmp_path / "none") == ([], [])


# ── the input ────────────────────────────────────────────────────────────────────────────────────────────────────────

GOOD = (
    '{"id": "1", "customer": "Ada", "email": "a@b.c", "city": "Bath", "card": "4242424242424242", '
    '"items": [{"sku": "T", "quantity": 1, "price": "2.50"}]}'
)


def test_the_packaged_orders_are_varied() -> None:
    orders = read_orders(PACKAGED)
    assert len(orders) == len({order.id for order in orders}) == 200
    states = [expected(order).state for order in orders]
    assert 10 <= states.count("refused") <= 30
    assert len({order.city for order in orders}) > 20
    assert sum(order.card.endswith("0119") for order in orders) > 5


def test_a_declined_card_means_a_refused_order(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(GOOD + "\n\n" + GOOD.replace('"1"', '"2"').replace("4242424242424242", "4000000000000002"))
    accepted, declined = read_orders(path)
    assert expected(accepted).state == "completed"
    assert expected(declined) == Expected("refused", frozenset({"reserve_stock", "release_stock", "notify"}))
    assert str(accepted.total) == "2.50"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "line 2: not JSON: Expecting property name"),
        ('{"id": "2"}', "line 2: customer: is missing (and 4 more)"),
        (GOOD, "line 2: order '1' is there already, on line 1"),
        (
            GOOD.replace('"1"', '"2"').replace(": 1,", ": 0,"),
            "line 2: items.0.quantity: input should be greater than 0",
        ),
        (GOOD.replace('"1"', '""'), "line 2: id: string should have at least 1 character"),
        (GOOD.replace('"1"', '"a\\nb"'), "line 2: The order id 'a\\nb' holds the control character"),
        (GOOD.replace('"1"', f'"{"x" * 300}"'), "bytes"),
        ("7", "line 2: input should be"),
        ("[" * 100_000, "line 2: nested too deeply"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(Failure) as caught:
        read_orders(path)
    assert what in caught.value.what


def test_a_file_without_orders_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with pytest.raises(Failure, match="cannot be read"):
        read_orders(path)
    path.write_text("\n")
    with pytest.raises(Failure, match="holds no order"):
        read_orders(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Failure, match="cannot be read"):
        read_orders(path)

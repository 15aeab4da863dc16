"""``check_determinism``: what it catches, what it lets pass, and what it says."""

import asyncio
import datetime as datetimes
import gc
import locale
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import determinism_workflows as shop
import pytest

from durable import Context, InvalidInput, NonRetryable, NotSerializable, Retry, WorkflowCodeError, step, workflow
from durable_testing import NotDeterministic, check_determinism

pytestmark = pytest.mark.slow

STUBS: Any = {
    shop.charge: lambda order: f"charged {order}",
    shop.ship: lambda order, day="": "shipped",
    shop.post: lambda order: "posted",
    shop.child: lambda order: "grown",
}


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Whatever a check found, the process is as it was."""
    before = world()
    functions = (time.time, random.random, os.urandom, datetimes.datetime, shop.datetime, shop.choice, shop.strftime)
    yield
    after = (time.time, random.random, os.urandom, datetimes.datetime, shop.datetime, shop.choice, shop.strftime)
    assert all(one is two for one, two in zip(functions, after, strict=True))
    assert before == world()


def world() -> Any:
    """What a check changes for a while."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
    return variables, type(os.environ), random.getstate(), time.tzname, locale.setlocale(locale.LC_ALL)


def caught(workflow: Any, *args: Any, **options: Any) -> NotDeterministic:
    options.setdefault("hash_seeds", ())
    with pytest.raises(NotDeterministic) as found:
        check_determinism(workflow, *args, stubs=STUBS, **options)
    return found.value


# ── what passes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_workflow_that_asks_its_context_passes_everywhere() -> None:
    result = check_determinism(shop.good, "42", stubs=STUBS, signals=[(shop.approved, True)])
    assert result.end == 'returns "posted grown True"'
    assert result.waits_for == ()
    assert result.entries == 8  # three steps of the map among them, the timer, the signal, and the two children
    assert {"clock", "random numbers", "entropy", "environment variables", "replaying", "time zone", "hash seed"} <= {
        *result.varied
    }
    assert set(result.not_varied) <= {"locale"}


def test_what_only_people_see_does_not_matter() -> None:
    assert check_determinism(shop.reads_and_does_not_care, stubs=STUBS).end == 'returns "charged 42"'
    assert check_determinism(shop.sorted_set, stubs=STUBS).end == "returns null"


def test_a_timer_fires_by_itself_and_a_timeout_passes_in_no_time() -> None:
    result = check_determinism(shop.good, "42", stubs=STUBS, hash_seeds=())
    assert (result.end, result.waits_for) == ("raises TimeoutError", ())
    assert result.not_varied["hash seed"] == "none was asked for"


def test_a_wait_for_what_does_not_come_is_compared_up_to_there() -> None:
    @workflow
    async def patient(ctx: Context) -> None:
        await ctx.step(shop.charge, "1")
        await ctx.wait_for_signal("never")

    result = check_determinism(patient, stubs=STUBS)
    assert (result.end, result.waits_for, result.entries) == ("", ("signal never",), 1)
    assert "inside a function" in result.not_varied["hash seed"]


def test_a_workflow_without_an_end_is_left_after_a_thousand_entries() -> None:
    @workflow
    async def endless(ctx: Context) -> None:
        while True:
            await ctx.sleep("1d")

    result = check_determinism(endless)
    assert (result.end, result.entries) == ("", 1000)


# ── what is caught, and as what ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("culprit", "part", "read"),
    [
        (shop.datetime_now, "clock", "datetime.now"),
        (shop.datetime_utc, "clock", "datetime.now"),
        (shop.weekday, "clock", "time.time"),
        (shop.time_time, "clock", "time.time"),
        (shop.formatted, "clock", "time.strftime"),
        (shop.monotonic, "clock", "time.monotonic_ns"),
        (shop.random_random, "dice", "random.random"),
        (shop.random_choice, "dice", "random.choice"),
        (shop.result_only, "dice", "random.random"),
        (shop.uuid4, "entropy", "os.urandom"),
        (shop.urandom, "entropy", "os.urandom"),
        (shop.token, "entropy", "os.urandom"),
        (shop.environ, "environ", "os.environ['FEATURE_OF_A_TEST']"),
        (shop.home, "environ", "os.environ['HOME']"),
        (shop.getenv, "environ", "os.environ['PATH']"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_each_look_outside_is_caught_with_its_cause_and_its_line(culprit: Any, part: str, read: str) -> None:
    error = caught(culprit)
    assert [cause.part for cause in error.causes] == [part]
    assert [seen.what for seen in error.causes[0].reads] == [read]
    code = culprit.fn.__code__
    file, line = error.causes[0].reads[0].place.split(":")
    assert file == "determinism_workflows.py"
    assert code.co_firstlineno < int(line) < code.co_firstlineno + 6


def test_what_listens_to_the_garbage_collector_is_nobodys_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis asks for the time whenever the collector runs: that is neither the workflow's look nor its cause."""
    library = ModuleType("a_library")
    exec("from time import perf_counter as clock\ndef listener(phase, info):\n    clock()\n", vars(library))
    monkeypatch.setitem(sys.modules, "a_library", library)
    gc.callbacks.append(library.listener)
    try:
        error = caught(shop.collecting)
    finally:
        gc.callbacks.remove(library.listener)
    assert {seen.what for cause in error.causes for seen in cause.reads} == {"time.time"}


@pytest.mark.parametrize(
    ("culprit", "part"), [(shop.local_zone, "zone"), (shop.replaying, "replaying"), (shop.counted, "state")]
)
def test_other_dependences_are_caught_with_their_cause(culprit: Any, part: str) -> None:
    assert [cause.part for cause in caught(culprit).causes] == [part]


@pytest.mark.parametrize(
    ("culprit", "part"), [(shop.set_order, "hash"), (shop.hashed, "hash"), (shop.identity, "process")]
)
def test_hashes_and_addresses_are_caught_in_other_processes(culprit: Any, part: str) -> None:
    assert [cause.part for cause in caught(culprit, hash_seeds=(1, 2, 3)).causes] == [part]


def test_the_message_shows_both_sides_with_their_lines_and_the_cure() -> None:
    said = str(caught(shop.datetime_now))
    first, after, *rest = said.splitlines()
    assert first == (
        "Workflow 'datetime_now' is not deterministic: replayed against its own journal in another world, it does "
        "something else."
    )
    assert after == 'After step "charge", the first time:'
    assert "and the other time:" in rest
    assert any(line.strip() == '> await ctx.step(charge, "morning")' for line in rest)
    assert any(line.strip() == '> await ctx.step(ship, "afternoon")' for line in rest)
    assert rest[-1].startswith("Probably it reads the clock (datetime.now at determinism_workflows.py:")
    assert rest[-1].endswith("): use ctx.now(), or read it in a step.")


def test_an_error_is_an_assertion_with_its_parts() -> None:
    error = caught(shop.uuid4)
    assert isinstance(error, AssertionError)
    assert error.difference.after == "at its begin"
    assert error.difference.first is not None
    assert error.difference.first.shown == 'step "charge"'
    assert error.difference.first.given != getattr(error.difference.other, "given", "")


def test_two_causes_are_both_named() -> None:
    @workflow
    async def twofold(ctx: Context) -> None:
        ctx.set("a", time.time())
        ctx.set("b", random.random())

    assert [cause.part for cause in caught(twofold).causes] == ["clock", "dice"]


# ── who answers for steps ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_without_a_stub_is_refused_and_nothing_of_it_runs() -> None:
    ran: list[str] = []

    @step
    def real() -> None:
        ran.append("real")

    @workflow
    async def uses(ctx: Context) -> None:
        await ctx.step(real)
        await ctx.step("inline", lambda: ran.append("inline"))

    with pytest.raises(InvalidInput, match=r"Nobody answers for step 'real'.*stubs=\{real: .*run_steps=True"):
        check_determinism(uses)
    with pytest.raises(InvalidInput, match=r"stubs=\{\"inline\": "):
        check_determinism(uses, stubs={real: lambda: None})
    assert ran == []
    check_determinism(uses, run_steps=True)
    assert ran == ["real", "inline"]  # each once, whatever was varied


async def test_real_steps_run_inside_of_a_running_loop_with_their_retries_and_their_keys() -> None:
    from durable import heartbeat, idempotency_key

    keys: list[str] = []

    @step(retry=Retry(3, initial="1h", max_interval="2h"))
    async def shaky() -> str:
        keys.append(idempotency_key())
        heartbeat()
        await asyncio.sleep(0)
        if len(keys) < 2:
            raise ConnectionError("no answer")
        return "at last"

    @step
    def refuses() -> None:
        raise NonRetryable("no")

    @workflow
    async def uses(ctx: Context) -> str:
        try:
            await ctx.step(refuses)
        except NonRetryable:
            pass
        began = ctx.now()
        said = await ctx.step(shaky)
        assert (ctx.now() - began).total_seconds() > 3000
        return said

    assert check_determinism(uses, run_steps=True).end == 'returns "at last"'
    assert keys == ["checked-run/1/0/step/shaky#0"] * 2


def test_children_and_steps_of_other_queues_need_a_stub_by_object_or_name() -> None:
    @workflow
    async def parent(ctx: Context) -> list[str]:
        return [await ctx.child(shop.child, "1"), await ctx.step(shop.post, "2")]

    with pytest.raises(InvalidInput, match="Nobody answers for child 'child'"):
        check_determinism(parent, run_steps=True)
    with pytest.raises(InvalidInput, match="Nobody answers for step 'post' of another queue"):
        check_determinism(parent, stubs={"child": lambda order: f"child {order}"})
    result = check_determinism(parent, stubs={"child": lambda order: f"child {order}", shop.post: lambda order: "sent"})
    assert result.end == 'returns ["child 1","sent"]'
    with pytest.raises(InvalidInput, match="functions that are called instead"):
        check_determinism(parent, stubs={"child": 7})  # type: ignore[dict-item]


def test_a_stub_may_fail_and_differ_from_call_to_call() -> None:
    @workflow
    async def tries(ctx: Context) -> str:
        try:
            return await ctx.step(shop.ship, "1")
        except ConnectionError as error:
            return str(error)

    numbers = iter(range(100))

    def failing(order: str, day: str = "") -> str:
        raise ConnectionError(f"failure {next(numbers)}")

    assert check_determinism(tries, stubs={shop.ship: failing}).end == 'returns "failure 2"'
    assert next(numbers) == 3


# ── edges ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_arguments_by_name_are_bound() -> None:
    @workflow
    async def named(ctx: Context, first: str, *, second: int = 1) -> str:
        return f"{first}{second}"

    assert check_determinism(named.bind("a", second=7)).end == 'returns "a7"'
    with pytest.raises(InvalidInput):
        check_determinism(named, 1, 2, 3)
    with pytest.raises(InvalidInput, match="to both"):
        check_determinism(named.bind("a"), "b")
    with pytest.raises(InvalidInput, match="decorated with @workflow"):
        check_determinism(shop.charge, "a")  # type: ignore[arg-type]


def test_signals_are_checked_against_their_type() -> None:
    with pytest.raises(NotSerializable, match="declared bool"):
        check_determinism(shop.good, "42", stubs=STUBS, signals=[(shop.approved, "yes")])
    with pytest.raises(InvalidInput, match="cannot read this signal"):
        check_determinism(shop.good, "42", stubs=STUBS, signals=[("approved", "perhaps")], hash_seeds=())


def test_forbidden_things_are_raised_as_the_engine_says_them() -> None:
    @workflow
    async def opens(ctx: Context) -> None:
        open("/etc/hostname").close()

    with pytest.raises(WorkflowCodeError, match="opens a file"):
        check_determinism(opens)


def test_values_keep_their_own_types_in_every_scene() -> None:
    @workflow
    async def typed(ctx: Context, when: datetimes.datetime) -> str:
        assert type(when) is not shop.datetime or isinstance(when, shop.datetime)
        assert isinstance(ctx.now(), shop.datetime)
        made = shop.datetime(2024, 1, 2, tzinfo=datetimes.UTC)
        assert isinstance(made, datetimes.datetime)
        ctx.set("made", made.isoformat())
        await ctx.sleep_until(shop.datetime.fromisoformat("2024-01-02T03:04:05+00:00"))
        return (await ctx.step(shop.ship, "x", shop.datetime.strptime("2024", "%Y").isoformat()))[:4]

    when = datetimes.datetime(2024, 5, 6, tzinfo=datetimes.UTC)
    assert check_determinism(typed, when, stubs=STUBS).end == 'returns "ship"'


def test_other_threads_keep_their_clock_and_their_dice_meanwhile() -> None:
    seen: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.append(time.time())
            os.environ.get("HOME")

    thread = threading.Thread(target=watch)
    began = time.time()
    thread.start()
    try:
        for _ in range(20):
            check_determinism(shop.good, "42", stubs=STUBS, signals=[(shop.approved, True)], hash_seeds=())
    finally:
        stop.set()
        thread.join()
    assert all(began - 1 <= instant <= time.time() for instant in seen)


def test_a_module_imported_by_the_workflow_keeps_the_real_functions(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_module.py").write_text("from datetime import datetime\nfrom time import time\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    @workflow
    async def imports(ctx: Context) -> None:
        import late_module

        ctx.set("late", late_module.datetime.__name__)

    check_determinism(imports)
    late: Any = sys.modules.pop("late_module")
    assert late.datetime is datetimes.datetime
    assert late.time is time.time


def test_a_workflow_that_another_process_cannot_import_is_said_to_be_unvaried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.sorted_set, "__module__", "__main__")
    result = check_determinism(shop.sorted_set, stubs=STUBS)
    assert "defined in the program itself" in result.not_varied["hash seed"]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_process_whose_clock_somebody_else_stands_in_for_is_checked_all_the_same(frozen: bool) -> None:
    """A simulator's wall clock, or a test's freezegun, has put other functions where the real ones were."""
    freezegun = pytest.importorskip("freezegun")
    with freezegun.freeze_time("2024-05-06 07:08:09", tick=not frozen):
        assert [cause.part for cause in caught(shop.datetime_now).causes] == ["clock"]
        assert [cause.part for cause in caught(shop.time_time).causes] == ["clock"]
        assert check_determinism(shop.good, "42", stubs=STUBS, hash_seeds=()).end == "raises TimeoutError"
        assert shop.datetime.now().year == 2024


def test_looks_of_others_in_the_midst_of_an_activation_do_not_move_the_clock() -> None:
    """The collector may close somebody's leftovers there; that they ask for the time is no difference."""
    looks = iter([3, 0, 1, 0, 2] * 10)

    class Leftover:
        def __del__(self) -> None:
            time.monotonic()
            time.time()

    @workflow
    async def timed(ctx: Context) -> None:
        for _ in range(next(looks)):
            Leftover()
        ctx.set("at", time.time())

    assert [cause.part for cause in caught(timed).causes] == ["clock"]

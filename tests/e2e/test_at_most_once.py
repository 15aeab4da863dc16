"""At-most-once steps: begun ahead in the journal, never repeated after a crash (rule 3)."""

import asyncio
from typing import Any

import pytest

from durable import (
    Context,
    Done,
    InvalidInput,
    NotDone,
    Retry,
    RunFailed,
    StepInterrupted,
    Unknown,
    connect,
    idempotency_key,
    step,
    workflow,
)


class Bank:
    """A payment that hangs in its first attempt, so that a crash can cut it."""

    def __init__(self, **options: Any) -> None:
        self.calls: list[str] = []
        self.begun = asyncio.Event()

        @step(effect="at_most_once", **options)
        async def pay(amount: int) -> str:
            self.calls.append(idempotency_key())
            if len(self.calls) == 1:
                self.begun.set()
                await asyncio.sleep(60)
            return f"paid {amount}"

        @workflow("payment")
        async def payment(ctx: Context, amount: int) -> str:
            return await ctx.step(pay, amount)

        self.workflow = payment

    async def cut(self, rig: Any, client: Any, **options: Any) -> Any:
        """Start a payment and crash its worker in the middle of it."""
        worker = rig.worker(client, self.workflow)
        await worker._start()
        handle = await client.start(self.workflow, 7, id="p")
        await self.begun.wait()
        await rig.crash(worker)
        return handle


async def test_without_a_crash_it_is_a_step_like_any_other(rig: Any) -> None:
    @step(effect="at_most_once")
    async def pay(amount: int) -> str:
        return f"paid {amount}"

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.step(pay, 7)

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        assert await rig.end(handle) == "paid 7"
        assert [row.event for row in await handle.history()] == ["attempt_begun", "step_completed"]


async def test_a_known_failure_is_retried_as_the_policy_says(rig: Any) -> None:
    calls = []

    @step(effect="at_most_once", retry=Retry(3, initial=0))
    async def pay() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError
        return len(calls)

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.step(pay)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == 3


async def test_rule_3_cut_by_a_crash_the_run_is_blocked_and_the_step_is_not_repeated(rig: Any) -> None:
    bank = Bank()
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            status = await rig.state(handle, "blocked")
            assert "unknown" in status.error
            assert status.current == ["pay (outcome unknown)"]
            said = await handle.explain()
            assert "settle 'pay'" in said
            assert "p/1/0/step/pay#0" in said
    assert len(bank.calls) == 1


async def test_rule_3_settle_with_a_result_goes_on_from_there(rig: Any) -> None:
    bank = Bank()
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            await rig.state(handle, "blocked")
            await handle.settle("pay", result="paid by hand")
            assert await rig.end(handle) == "paid by hand"
    assert len(bank.calls) == 1


async def test_rule_3_settle_with_an_error_raises_it_in_the_workflow(rig: Any) -> None:
    bank = Bank()
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            await rig.state(handle, "blocked")
            await handle.settle("pay", error=LookupError("no such card"))
            with pytest.raises(RunFailed, match="no such card") as caught:
                await rig.end(handle)
    assert type(caught.value.__cause__) is LookupError
    assert len(bank.calls) == 1


async def test_rule_3_settle_as_not_done_tries_again_with_the_same_key(rig: Any) -> None:
    bank = Bank()
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            await rig.state(handle, "blocked")
            await handle.settle("pay", not_done=True)
            assert await rig.end(handle) == "paid 7"
    assert bank.calls == ["p/1/0/step/pay#0"] * 2


async def test_rule_3_resume_without_settling_blocks_again(rig: Any) -> None:
    bank = Bank()
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            await rig.state(handle, "blocked")
            await handle.resume()
            await asyncio.sleep(0.05)
            await rig.state(handle, "blocked")
    assert len(bank.calls) == 1


async def test_settle_asks_for_exactly_one_answer_and_an_open_call(rig: Any) -> None:
    bank = Bank()
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            await rig.state(handle, "blocked")
            with pytest.raises(InvalidInput, match="exactly one"):
                await handle.settle("pay")
            with pytest.raises(InvalidInput, match="exactly one"):
                await handle.settle("pay", result=None, not_done=True)
            with pytest.raises(InvalidInput, match="Open: pay"):
                await handle.settle("refund", result=1)
            await handle.settle("pay", result="x")
            await rig.end(handle)
            with pytest.raises(InvalidInput, match="no call of it"):
                await handle.settle("pay", result="y")


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_rule_3_check_may_say_it_was_done(rig: Any, asynchronous: bool) -> None:
    asked: list[str] = []

    def check(key: str) -> Any:
        asked.append(key)
        return Done("paid, says the bank")

    async def check_async(key: str) -> Any:
        return check(key)

    bank = Bank(check=check_async if asynchronous else check)
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            assert await rig.end(handle) == "paid, says the bank"
    assert asked == ["p/1/0/step/pay#0"]
    assert len(bank.calls) == 1


async def test_rule_3_check_may_say_it_was_not_done(rig: Any) -> None:
    bank = Bank(check=lambda key: NotDone())
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            assert await rig.end(handle) == "paid 7"
    assert len(bank.calls) == 2


async def test_rule_3_a_check_that_cannot_tell_blocks_the_run(rig: Any) -> None:
    bank = Bank(check=lambda key: Unknown())
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            await rig.state(handle, "blocked")
    assert len(bank.calls) == 1


async def test_rule_3_a_check_that_raises_cannot_tell_either(rig: Any) -> None:
    def check(key: str) -> Any:
        raise ConnectionError("the bank is closed")

    bank = Bank(check=check)
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            await rig.state(handle, "blocked")
            assert (await handle.status()).current == ["pay (outcome unknown)"]
            assert "the bank is closed" in await handle.explain()
            await handle.settle("pay", result="by hand")
            assert await rig.end(handle) == "by hand"
    assert len(bank.calls) == 1


async def test_rule_3_on_unknown_raise_raises_step_interrupted_in_the_workflow(rig: Any) -> None:
    bank = Bank(on_unknown="raise")
    async with connect(rig.url) as client:
        handle = await bank.cut(rig, client)
        async with connect(rig.url) as other, rig.worker(other, bank.workflow):
            with pytest.raises(RunFailed, match="StepInterrupted") as caught:
                await rig.end(handle)
    assert type(caught.value.__cause__) is StepInterrupted
    assert "p/1/0/step/pay#0" in str(caught.value.__cause__)
    assert len(bank.calls) == 1


async def test_two_cut_calls_are_settled_one_after_the_other(rig: Any) -> None:
    begun: list[str] = []

    @step(effect="at_most_once")
    async def pay(who: str) -> str:
        begun.append(who)
        if len(begun) <= 2:
            await asyncio.sleep(60)
        return who

    @workflow
    async def wf(ctx: Context) -> list[str]:
        return await asyncio.gather(ctx.step(pay, "a"), ctx.step(pay, "b"))

    async with connect(rig.url) as client:
        worker = rig.worker(client, wf)
        await worker._start()
        handle = await client.start(wf)
        await rig.until(lambda: len(begun) == 2)
        await rig.crash(worker)
        async with connect(rig.url) as other, rig.worker(other, wf):
            await rig.state(handle, "blocked")
            await handle.settle("pay#0", result="first")
            await rig.until(lambda: _blocked_at(handle, "pay#1"))
            await handle.settle("pay#1", result="second")
            assert await rig.end(handle) == ["first", "second"]
    assert len(begun) == 2


async def _blocked_at(handle: Any, call: str) -> bool:
    return (await handle.status()).state == "blocked" and call in await handle.explain()


async def test_a_stopped_worker_lets_an_at_most_once_step_end(rig: Any) -> None:
    begun = asyncio.Event()

    @step(effect="at_most_once")
    async def pay() -> str:
        begun.set()
        await asyncio.sleep(0.1)
        return "paid"

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.step(pay)

    async with connect(rig.url) as client:
        async with rig.worker(client, wf, drain=5):
            handle = await client.start(wf)
            await begun.wait()
        assert [row.event for row in await handle.history()] == ["attempt_begun", "step_completed"]
        async with connect(rig.url) as other, rig.worker(other, wf):
            assert await rig.end(handle) == "paid"

"""What a person types means one run, however short the pages of a store's lists are."""

from typing import Any

import pytest

from durable import Client, Context, RunNotFound, workflow
from durable.cli.failures import Failure
from durable.cli.ids import find
from durable_testing import MemoryStore
from tests.hostile.layers import OneRowPages


@workflow
async def nothing(ctx: Context) -> None:
    pass


@pytest.mark.parametrize("pages", [lambda store: store, OneRowPages], ids=["long", "short"])
async def test_a_prefix_that_means_several_runs_is_refused(pages: Any) -> None:
    async with Client(pages(MemoryStore())) as client:
        with pytest.raises(RunNotFound):
            await find(client, "@last")
        for id in ("abc", "abcd", "abe", "b"):
            await client.start(nothing, id=id)
        with pytest.raises(Failure, match="Several runs begin with 'ab': abe, abcd, abc"):
            await find(client, "ab")
        assert [(await find(client, asked)).id for asked in ("abc", "abe", "@last")] == ["abc", "abe", "b"]

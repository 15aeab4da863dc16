"""Nothing is lost and nothing is done twice while everything between a worker and its data breaks."""

from pathlib import Path

import pytest

from tests.convex.weather import Weather, against, storm


@pytest.mark.slow
async def test_twenty_runs_at_once_survive_a_short_storm_over_convex(tmp_path: Path) -> None:
    told = await storm(tmp_path, Weather(10.0, runs=20, seed=3))
    assert against(told) == [], str(told)
    assert told.crew.kills >= 5
    assert told.server_kills >= 1
    assert len(told.evidence.runs) >= 20


@pytest.mark.nightly
@pytest.mark.skipif("not config.getoption('-m')", reason="long: by its marker")
async def test_a_hundred_runs_at_once_survive_two_minutes_of_storm_over_convex(tmp_path: Path) -> None:
    told = await storm(tmp_path, Weather(120.0, runs=100))
    assert against(told) == [], str(told)

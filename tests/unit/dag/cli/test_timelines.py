"""Timelines: what is drawn of a run's times, and that no name gets out of its row."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_dag.pictures import Stretch, Timeline, Track, gantt, timeline_svg

GOLDEN = Path(__file__).parents[1] / "golden"
SVG = "{http://www.w3.org/2000/svg}"


def order() -> Timeline:
    at = 1_767_225_600.0
    return Timeline(
        "order-1  order  failed",
        at,
        at + 10,
        (
            Track("reserve", "success", (Stretch(at, at + 0.04, "ok"),)),
            Track(
                "charge",
                "failed",
                (Stretch(at + 1, at + 2, "bad"), Stretch(at + 2, at + 4, "backoff"), Stretch(at + 4, at + 9, "bad")),
                "HttpStatusError: POST http://pay/ answered 503",
            ),
            Track("timer pause", "running", (Stretch(at + 5, at + 10, "wait"),)),
            Track("send", "running", (Stretch(at + 9, at + 10, "busy"),)),
            Track("never", "skipped", ()),
        ),
    )


@pytest.mark.parametrize(("name", "draw"), [("timeline.svg", timeline_svg), ("timeline.mmd", gantt)])
def test_timelines_are_as_they_were(name: str, draw: Any) -> None:
    """``python -m tests.unit.dag.cli.test_timelines`` draws them anew; look at them then."""
    assert draw(order()) == (GOLDEN / name).read_text()


def test_bars_lie_where_their_times_are() -> None:
    rows = ET.fromstring(timeline_svg(order())).findall(f"{SVG}g")
    bars = [
        (bar.get("class"), float(bar.get("x", "")), float(bar.get("width", "")))
        for bar in rows[1].findall(f"{SVG}rect")
    ]
    assert bars == [("bad", 294.0, 64.0), ("bad", 486.0, 320.0)]
    assert rows[1].findtext(f"{SVG}title") == "charge: HttpStatusError: POST http://pay/ answered 503"
    assert [row.findall(f"{SVG}text")[0].text for row in rows] == [
        "✓ reserve",
        "✗ charge",
        "● timer pause",
        "● send",
        "⤼ never",
    ]


hostile = st.text(max_size=30) | st.sampled_from(
    ['"><script>alert(1)</script>', "a:b", "\nsection x", "%% x", "\u202eevil", "\x1b[31m", "&amp;", "#59;", ";", "]]>"]
)
times = st.floats(-1e6, 1e10)


@given(hostile, hostile, hostile, times, times)
def test_no_name_gets_out_of_its_row(title: str, label: str, note: str, start: float, end: float) -> None:
    def drawing(*texts: str) -> Timeline:
        strokes = ("ok", "backoff", "wait")
        tracks = tuple(Track(texts[1], "failed", (Stretch(start, end, stroke),), texts[2]) for stroke in strokes)
        return Timeline(texts[0], start, end, tracks)

    shown, plain = drawing(title, label, note), drawing("t", "l", "n")
    tree = ET.fromstring(timeline_svg(shown))
    assert [one.tag for one in tree.iter()] == [one.tag for one in ET.fromstring(timeline_svg(plain)).iter()]
    for bar in tree.iter(f"{SVG}rect"):
        assert float(bar.get("x", "0")) + float(bar.get("width", "0")) <= 950.1
        assert float(bar.get("width", "0")) >= 0
    lines = gantt(shown).splitlines()
    assert len(lines) == len(gantt(plain).splitlines())
    assert all(line.count(":") == 1 for line in lines[4:-1])
    for text in (timeline_svg(shown), gantt(shown)):
        assert "\x1b" not in text
        assert "\u202e" not in text


if __name__ == "__main__":
    for name, draw in (("timeline.svg", timeline_svg), ("timeline.mmd", gantt)):
        (GOLDEN / name).write_text(draw(order()))

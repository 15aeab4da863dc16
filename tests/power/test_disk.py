"""The rules by which a power cut leaves a disk, on events small enough to be followed by eye."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.power.choices import choices
from tests.power.disk import Disk, Fate, Image
from tests.power.events import Cut, Event, NamesSynced, Renamed, Synced, Wrote

KEPT, LOST, TORN, STALE = Fate.KEPT, Fate.LOST, Fate.TORN, Fate.STALE


def disk(events: Sequence[Event], base: Image | None = None) -> Disk:
    made = Disk({"a": b"old!"} if base is None else base)
    for event in events:
        made.apply(event)
    return made


def every_image(made: Disk, sector: int = 4) -> set[tuple[tuple[str, bytes], ...]]:
    pieces = made.pieces(sector)
    all_fates = choices(pieces, 2 ** len(pieces), random.Random(1))
    return {tuple(sorted(made.image(pieces, fates).items())) for fates in all_fates}


def test_what_was_synced_is_on_every_image() -> None:
    assert every_image(disk([Wrote(0, 0, b"new!"), Synced(0)])) == {(("a", b"new!"),)}


def test_what_was_not_synced_may_be_there_or_not() -> None:
    assert every_image(disk([Wrote(0, 0, b"new!")])) == {(("a", b"old!"),), (("a", b"new!"),)}


def test_the_sync_of_one_file_makes_no_other_file_safe() -> None:
    made = disk([Wrote(0, 0, b"new!"), Synced(1)], {"a": b"old!", "b": b""})
    assert (("a", b"old!"), ("b", b"")) in every_image(made)


def test_sectors_of_one_write_are_kept_and_lost_one_by_one() -> None:
    images = every_image(disk([Wrote(0, 2, b"234567")]))
    assert {data for ((_, data),) in images} == {b"old!", b"ol23", b"ol234567", b"old!4567"}


def test_a_later_write_may_be_there_without_an_earlier_one() -> None:
    images = every_image(disk([Wrote(0, 0, b"1111"), Wrote(0, 4, b"2222")]))
    assert (("a", b"old!2222"),) in images


def test_an_older_write_may_be_there_where_a_newer_one_was_lost() -> None:
    images = every_image(disk([Wrote(0, 0, b"1111"), Wrote(0, 0, b"2222")]))
    assert {data for ((_, data),) in images} == {b"old!", b"1111", b"2222"}


def test_a_torn_write_leaves_its_first_half_and_what_was_behind_it() -> None:
    made = disk([Wrote(0, 0, b"new!")])
    assert made.image(made.pieces(4), [TORN]) == {"a": b"ned!"}


def test_a_file_may_have_its_length_and_not_its_bytes() -> None:
    made = disk([Wrote(0, 4, b"more")])
    assert made.image(made.pieces(4), [STALE], noise=7) == {"a": b"old!\7\7\7\7"}
    made = disk([Wrote(0, 0, b"new!")])
    assert made.image(made.pieces(4), [STALE], noise=7) == {"a": b"old!"}, "a file that does not grow keeps its bytes"


def test_a_cut_file_may_still_have_its_old_length() -> None:
    assert every_image(disk([Cut(0, 1)])) == {(("a", b"old!"),), (("a", b"o"),)}


def test_a_new_name_is_safe_when_the_directory_is_synced_and_not_when_the_file_is() -> None:
    events: list[Event] = [Renamed((("b", 1),)), Wrote(1, 0, b"data"), Synced(1)]
    there, gone = (("a", b"old!"), ("b", b"data")), (("a", b"old!"),)
    assert every_image(disk(events)) == {there, gone}
    assert every_image(disk([*events, NamesSynced()])) == {there}


def test_a_removed_name_may_come_back_with_its_bytes() -> None:
    assert every_image(disk([Renamed((("a", None),))])) == {(("a", b"old!"),), ()}


def test_a_moved_file_is_under_one_of_its_names() -> None:
    made = disk([Renamed((("b", 0), ("a", None)))])
    assert every_image(made) == {(("a", b"old!"),), (("b", b"old!"),)}


def test_few_pieces_are_tried_in_every_combination_and_many_within_the_count() -> None:
    made = disk([Wrote(0, 0, bytes(12))])
    pieces = made.pieces(4)
    assert len(set(choices(pieces, 8, random.Random(1)))) == 8
    made = disk([Wrote(0, 0, bytes(400))])
    pieces = made.pieces(4)
    tried = list(choices(pieces, 40, random.Random(1)))
    assert 30 <= len(tried) == len(set(tried)) <= 40
    assert {(LOST,) * 100, (KEPT,) * 100} <= set(tried)
    assert {TORN, STALE} <= {fate for fates in tried for fate in fates}

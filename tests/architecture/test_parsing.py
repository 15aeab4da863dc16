"""What tests read of the source does not hang on what else their process throws away."""

import ast
import gc
from pathlib import Path

from tests.parsing import parsed

SOURCE = "\n".join(f"value_{number} = [{number}, ({number}, {{{number}: {number}}})]" for number in range(200))


class Dropped:
    """A cycle whose finalizer parses, as the formatting of a traceback does."""

    found = 0

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        Dropped.found += 1
        ast.parse("(1 + (2 * (3 - 4)))")


def test_no_finalizer_runs_while_a_tree_is_built() -> None:
    thresholds = gc.get_threshold()
    gc.set_threshold(10, 1, 1)
    try:
        for _ in range(50):
            [Dropped() for _ in range(20)]
            found = Dropped.found
            assert len(parsed(SOURCE).body) == 200
            assert Dropped.found == found
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert Dropped.found == 1000
    assert gc.isenabled()


def test_every_test_parses_by_it() -> None:
    tests = Path(__file__).parents[1]
    direct = "ast." + "parse("
    named = [path.relative_to(tests).as_posix() for path in sorted(tests.rglob("*.py")) if direct in path.read_text()]
    assert named == ["architecture/test_parsing.py", "parsing.py"]

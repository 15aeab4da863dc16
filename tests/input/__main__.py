"""``python -m tests.input``: the tests of hostile input in this process, and how much they have tried."""

import sys
import time

import pytest

from tests.input.tally import TRIED

if __name__ == "__main__":
    began = time.perf_counter()
    failed = pytest.main(["-n", "0", "tests/input", *sys.argv[1:]])
    for what, count in TRIED.items():
        print(f"{count:7,} {what}")
    print(f"{TRIED.total():7,} in {time.perf_counter() - began:.0f} s")
    sys.exit(failed)

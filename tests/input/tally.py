"""How much was tried: counted by the tests, printed by ``python -m tests.input``."""

from collections import Counter

TRIED: Counter[str] = Counter()
"""Inputs by kind; each store counts."""

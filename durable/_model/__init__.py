"""Frozen values: the words of the engine as types. They keep their own promises and do nothing."""

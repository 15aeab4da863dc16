"""Values to bytes and back, exactly or not at all; the only place that opens a payload."""

from __future__ import annotations

from durable.codec.arguments import Arguments, digest
from durable.codec.exceptions import dump_error, error_line, load_error
from durable.codec.sameness import same
from durable.codec.seals import Codec, PayloadHook
from durable.codec.values import ValueType

__all__ = [
    "Arguments",
    "Codec",
    "PayloadHook",
    "ValueType",
    "digest",
    "dump_error",
    "error_line",
    "load_error",
    "same",
]

"""The library's loggers: each of them passes its records through ``redact``."""

from __future__ import annotations

import logging
from typing import Any, Final, final

from durable.codec.redaction import is_needed, redact, redacted

__all__ = ["REDACTING", "logger"]

_formatter: Final = logging.Formatter()


@final
class Redacting(logging.Filter):
    """Takes revealed values out of a record, before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True; see ``logging.Filter``."""
        if not is_needed():
            return True
        said = _message(record)
        if redact(said) != said:
            record.msg, record.args = redact(said), ()
        if record.exc_info is not None and record.exc_info[0] is not None:
            text = record.exc_text or _formatter.formatException(record.exc_info)
            if redact(text) != text:
                # Handlers that send exceptions as such would send their texts.
                record.exc_text, record.exc_info = redact(text), None
        for name, value in record.__dict__.items():
            if isinstance(value, (str, dict, list)) and name not in ("msg", "args"):
                record.__dict__[name] = redacted(value)
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # What does not fit together would be printed as it is, with all its parts.
        said = f"{record.msg!r} with {record.args!r}"
        record.msg, record.args = said, ()
        return said


REDACTING: Final[Any] = Redacting()


def logger(name: str) -> logging.Logger:
    """The logger of that name, with the filter on it, once."""
    found = logging.getLogger(name)
    found.addFilter(REDACTING)  # a second time it does nothing
    return found

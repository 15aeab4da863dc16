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
        """Always True; see ``logging.Filter``.

        Never raises: the line that logs may be a workflow's, which must not fail for what this process has revealed.
        """
        if is_needed():
            _clean_message(record)
            _clean_exception(record)
            for name, value in record.__dict__.items():
                if isinstance(value, (str, dict, list)) and name not in ("msg", "args"):
                    record.__dict__[name] = _cleaned(value)
        return True


def _clean_message(record: logging.LogRecord) -> None:
    try:
        said = record.getMessage()
    except Exception:
        # What does not fit together would be printed as it is, with all its parts.
        said = _whole(record)
        record.msg, record.args = said, ()
    clean = redact(said)
    if clean != said:
        record.msg, record.args = clean, ()


def _whole(record: logging.LogRecord) -> str:
    try:
        return f"{record.msg!r} with {record.args!r}"  # not cut: half a secret is not recognised
    except Exception:
        return "(a record that cannot be shown)"


def _clean_exception(record: logging.LogRecord) -> None:
    if record.exc_info is None or record.exc_info[0] is None:
        return
    try:
        text = record.exc_text or _formatter.formatException(record.exc_info)
    except Exception:
        text, clean = "", "(an exception that cannot be shown)"
    else:
        clean = redact(text)
    if clean != text:
        # Handlers that send exceptions as such would send their texts.
        record.exc_text, record.exc_info = clean, None


def _cleaned(value: Any) -> Any:
    try:
        return redacted(value)
    except Exception:  # it holds itself, or is too deep
        return "(a value that cannot be shown)"


REDACTING: Final[Any] = Redacting()


def logger(name: str) -> logging.Logger:
    """The logger of that name, with the filter on it, once."""
    found = logging.getLogger(name)
    found.addFilter(REDACTING)  # a second time it does nothing
    return found

"""Errors as answers: one shape, and one table from the engine's errors to statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from durable import errors

Json = Any

__all__ = ["Problem", "detail", "problem_of"]


class Problem(Exception):
    """Ends a call with an error answer.

    Args:
        status: Of HTTP.
        code: For programs.
        message: For people.
        details: What is wrong where: ``{"path", "code", "message"}`` each.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Sequence[Mapping[str, Json]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = [dict(one) for one in details]
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Json]:
        """The answer's body; ``details`` is there also when it is empty."""
        return {"error": self.message, "code": self.code, "details": self.details}


def detail(path: str, code: str, message: str) -> dict[str, str]:
    """One thing that is wrong, with its place as a JSON Pointer (``/query/...`` for parameters)."""
    return {"path": path, "code": code, "message": message}


_SOON: Final = {"Retry-After": "1"}

_TABLE: Final[tuple[tuple[type[Exception], int, str, Mapping[str, str]], ...]] = (
    (errors.RunNotFound, 404, "execution_not_found", {}),
    (errors.UnknownWorkflow, 404, "workflow_not_found", {}),
    (errors.RunConflict, 409, "execution_conflict", {}),
    (errors.RunEnded, 409, "execution_ended", {}),
    (errors.RunBlocked, 409, "execution_blocked", {}),
    (errors.InvalidName, 400, "invalid_name", {}),
    (errors.InvalidInput, 400, "invalid_input", {}),
    (errors.NotSerializable, 400, "not_serializable", {}),
    (errors.PayloadTooLarge, 413, "payload_too_large", {}),
    (errors.StoreFull, 503, "store_full", {"Retry-After": "10"}),
    (errors.ReadOnly, 503, "store_read_only", {"Retry-After": "10"}),
    (errors.Transient, 503, "store_unavailable", _SOON),
    (errors.OutcomeUnknown, 503, "outcome_unknown", _SOON),
    (errors.Corrupt, 500, "store_corrupt", {}),
    (errors.StoreError, 503, "store_unavailable", _SOON),
)

_BY_CODE: Final = {
    "invalid_definition": 400,
    "workflow_not_found": 404,
    "execution_not_found": 404,
    "workflow_disabled": 409,
    "workflow_in_use": 409,
    "version_conflict": 409,
    "execution_conflict": 409,
    "concurrency_limit": 409,
}
"""Errors of the layer of definitions say their code themselves."""


def problem_of(error: Exception) -> Problem | None:
    """The answer that an error stands for; None if it is a surprise, whose text is nobody's business."""
    if isinstance(error, Problem):
        return error
    for kind, status, code, headers in _TABLE:
        if isinstance(error, kind):
            return Problem(status, code, _told(error), headers=headers)
    if isinstance(error, errors.DurableError):
        code = getattr(error, "code", "bad_request")
        found: Sequence[Any] = getattr(error, "problems", ())
        details = [one.as_json() for one in found]
        return Problem(_BY_CODE.get(code, 400), code, _told(error), details)
    return None


def _told(error: Exception) -> str:
    # The seed's clients look for these very words.
    if isinstance(error, errors.RunNotFound):
        return "Execution not found"
    return str(error)

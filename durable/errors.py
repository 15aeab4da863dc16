"""Every error of the engine, one root, ordered by who is to blame: that is what the catcher needs to know."""

from __future__ import annotations

__all__ = [
    "Corrupt",
    "DuplicateRegistration",
    "DurableError",
    "InvalidInput",
    "InvalidName",
    "LeaseLost",
    "MissingExtra",
    "NonDeterminismError",
    "NonRetryable",
    "NotSerializable",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "ReadOnly",
    "RetryAfter",
    "RunBlocked",
    "RunCancelled",
    "RunConflict",
    "RunEnded",
    "RunFailed",
    "RunNotFound",
    "SecretUnavailable",
    "StepError",
    "StepInterrupted",
    "StoreError",
    "StoreFull",
    "Transient",
    "UnknownStore",
    "UnknownWorkflow",
    "WorkflowCodeError",
    "WriteConflict",
]


class DurableError(Exception):
    """The root of everything this library raises on its own account."""


# ── the caller's code ────────────────────────────────────────────────────────────────────────────────────────────────


class InvalidInput(DurableError, ValueError):
    """A value given to the API does not fit: its type, its shape or its range. Nothing was written."""


class InvalidName(InvalidInput):
    """An id or a name is empty, longer than 255 bytes of UTF-8, or holds a control character."""


class NotSerializable(DurableError, TypeError):
    """The codec cannot carry this value exactly, so it is refused rather than altered."""


class PayloadTooLarge(DurableError, ValueError):
    """An encoded value is over the payload limit. Checked before anything is written."""


class UnknownWorkflow(DurableError, LookupError):
    """No worker of this store, and nothing in this process, has a workflow of that name (or version)."""


class DuplicateRegistration(DurableError, ValueError):
    """Two different functions were registered under one name and version."""


class UnknownStore(DurableError, ValueError):
    """No adapter is installed for this URL's scheme."""


class MissingExtra(DurableError, ImportError):
    """A part of the library needs an optional dependency that is not installed; the message has the pip command."""


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class RunError(DurableError):
    """Something about one run. ``run_id`` says which."""

    def __init__(self, message: str, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class RunNotFound(RunError, LookupError):
    """There is no run with this id (it never existed, or it was purged)."""


class RunEnded(RunError):
    """The run has ended, so it takes no more signals or commands."""


class RunConflict(RunError):
    """A run with this id exists already, with another workflow or another input. It was left as it is."""


class RunFailed(RunError):
    """The run ended with an exception; it is the ``__cause__`` where its class is known here."""


class RunCancelled(RunError):
    """The run was cancelled or terminated."""


class RunBlocked(RunError):
    """The run cannot go on without a person or a deploy. It has not failed: nothing is lost, it can be resumed."""


# ── inside a workflow ────────────────────────────────────────────────────────────────────────────────────────────────


class WorkflowCodeError(DurableError):
    """Workflow code did what only steps may do, or what cannot be replayed. The message says what to use instead."""


class StepError(DurableError):
    """A step failed with an exception whose class is not known in this process.

    Attributes:
        type_name: The original class, as ``module:qualname``.
        message: The original ``str(exception)``.
        traceback_text: The original traceback as text, possibly shortened.
    """

    def __init__(self, message: str, type_name: str = "", traceback_text: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text


class SecretUnavailable(DurableError, LookupError):
    """A secret cannot be revealed in this process: it is not there, or is not allowed here."""


class StepInterrupted(DurableError):
    """An at-most-once step was cut by a crash: it may or may not have happened, and it is not repeated."""


# ── journal against code ─────────────────────────────────────────────────────────────────────────────────────────────


class NonDeterminismError(DurableError):
    """The workflow code does not do what its journal says it did. Raised before any effect; the run is blocked."""


# ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────


class StoreError(DurableError):
    """A surprise of the store. Workflow code never sees one (invariant I23)."""


class Transient(StoreError):
    """Nothing was written; the same call may succeed later (busy, locked, away)."""


class WriteConflict(Transient):
    """Another writer came first; nothing was written; try again."""


class OutcomeUnknown(StoreError):
    """The call may or may not have been applied. Every call is idempotent: say it again."""


class StoreFull(Transient):
    """The disk or the quota is full; nothing was written."""


class ReadOnly(Transient):
    """The store cannot be written at the moment (read-only file, directory or server)."""


class Corrupt(StoreError):
    """The store's data is damaged, foreign, or of a newer version. Nothing was changed."""


class LeaseLost(StoreError):
    """This worker no longer owns the run; whatever it wanted to write was not written."""


# ── raised by users, in steps ────────────────────────────────────────────────────────────────────────────────────────


class NonRetryable(Exception):
    """Raise it, or a subclass, in a step to fail at once, whatever the retry policy says."""


class RetryAfter(Exception):
    """Raise it in a step to have the next attempt after a delay of your choosing (an HTTP ``Retry-After``, say).

    Args:
        delay: Until the next attempt: seconds, a ``timedelta`` or text like ``"30s"``.
        message: Shown as the attempt's error.
    """

    def __init__(self, delay: object, message: str = "") -> None:
        super().__init__(message or f"try again after {delay}")
        self.delay = delay

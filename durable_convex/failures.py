"""What goes wrong between here and a deployment, as store errors that say what to do: one table, read top down.

Two questions decide. *May it have happened?* Then ``OutcomeUnknown``; the transport has said it again until its
patience was over. *Does trying again help?* Then it is ``Transient``, and a worker waits it out. When a store is
opened, what no waiting helps against (a wrong token, a component that is missing or another) is raised at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from durable.errors import (
    Corrupt,
    DurableError,
    InvalidInput,
    OutcomeUnknown,
    PayloadTooLarge,
    ReadOnly,
    StoreFull,
    Transient,
    WriteConflict,
)

__all__ = [
    "FunctionFailed",
    "Refusal",
    "Trouble",
    "at_the_door",
    "cut",
    "masked",
    "other_protocol",
    "refusal",
    "trouble",
    "unreached",
]

UNAUTHORIZED: Final = "UNAUTHORIZED"
PROTOCOL: Final = "PROTOCOL"


class FunctionFailed(DurableError):
    """A function of the deployment threw; nothing of the call was written.

    Attributes:
        data: Of a ``ConvexError``; None of any other error, whose text production deployments keep to themselves.
    """

    def __init__(self, function: str, message: str, data: Any = None) -> None:
        super().__init__(f"The Convex function {function} failed: {message}")
        self.function = function
        self.text = message
        self.data = data


class Refusal(ReadOnly):
    """The deployment refuses this client as a whole: its token, or its version. Nothing was written.

    Attributes:
        code: ``UNAUTHORIZED`` or ``PROTOCOL``.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def masked(text: str, secret: str) -> str:
    """What a deployment says, without the secret: an error about arguments repeats them, and is logged."""
    return text.replace(secret, "***") if secret else text


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that got no answer of the function.

    Attributes:
        kind: What to raise when patience is over.
        words: For people; follow "The deployment X".
        again: Whether saying it again may help.
        done: Whether it may have been done all the same.
        wait_seconds: What the deployment asked us to wait, if it did.
    """

    kind: type[DurableError]
    words: str
    again: bool
    done: bool
    wait_seconds: float | None = None

    def error(self, base: str, *, writes: bool, ever_done: bool) -> DurableError:
        """What to raise.

        Args:
            writes: Whether the function writes; a query may always be said again.
            ever_done: Whether any try of this call may have been done.
        """
        said = f"The deployment {base} {self.words}."
        if writes and ever_done:
            return OutcomeUnknown(f"{said} What was asked may or may not have been done; say it again.")
        return self.kind(said)


_OCC: Final = "OptimisticConcurrencyControlFailure"
_BY_CODE: Final[dict[str, tuple[type[DurableError], str]]] = {
    _OCC: (WriteConflict, "had too many conflicting writes; it gave this one up, several times over"),
    "TooManyConcurrentRequests": (Transient, "has more requests at once than its plan allows"),
    "RateLimited": (Transient, "has more requests than its plan allows"),
    "TooManyWrites": (Transient, "has more writes than its plan allows"),
    "CommitterFull": (Transient, "has more writes waiting than it takes"),
    "ExpiredInQueue": (Transient, "was too busy to begin"),
    "BackendIsNotRunning": (ReadOnly, "is paused. Resume it in its dashboard, under Settings"),
}
_UNDONE: Final = {429}
_OTHER: Final = (
    "The component in {base} speaks another protocol ({why}). Write the one of this package "
    "by `durable-convex init --upgrade`, then run `npx convex deploy`."
)
_AGAIN: Final = {408, 421, 425, 429}


def unreached(error: Exception) -> Trouble:
    """No connection was made, so nothing can have happened."""
    why = str(error) or type(error).__name__
    return Trouble(Transient, f"cannot be reached ({why}). Check the URL, and that it is up", again=True, done=False)


def cut(error: Exception) -> Trouble:
    """The request went out, and no answer came back."""
    why = str(error) or type(error).__name__
    return Trouble(Transient, f"did not answer ({why})", again=True, done=True)


def trouble(status: int, code: str, message: str, retry_after: str | None = None) -> Trouble:
    """What an HTTP status other than that of an answer means.

    Args:
        code: Convex's own short name of the error; empty if the body had none.
        retry_after: The header, if there was one.
    """
    said = f"{status} {code}: {message}".replace(" : ", ": ").strip(": ")[:300]
    wait = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    if code in _BY_CODE:
        kind, words = _BY_CODE[code]
        return Trouble(kind, f"{words} ({said})", again=True, done=False, wait_seconds=wait)
    if status in (401, 403):
        return Trouble(ReadOnly, f"refuses our credentials ({said})", again=False, done=False)
    if status == 402:
        return Trouble(StoreFull, f"is over the limits of its plan ({said})", again=False, done=False)
    if status == 404:
        words = f"is not there ({said}). Check the URL: `npx convex dashboard` shows the deployment's own"
        return Trouble(ReadOnly, words, again=False, done=False)
    if 300 <= status < 400:
        words = f"sends us to another address, where we do not follow it ({said}). Check the URL"
        return Trouble(ReadOnly, words, again=False, done=False)
    if status == 413:
        return Trouble(PayloadTooLarge, f"does not take so much at once ({said})", again=False, done=False)
    if status in _AGAIN or status >= 500:
        done = status not in _UNDONE
        return Trouble(Transient, f"could not answer ({said})", again=True, done=done, wait_seconds=wait)
    return Trouble(InvalidInput, f"refuses what was asked ({said})", again=False, done=False)


def refusal(failed: FunctionFailed, base: str) -> Refusal | None:
    """The component's own refusal of the whole call; None if the error is another one."""
    data = failed.data
    code = data.get("code") if isinstance(data, dict) else None
    if code == UNAUTHORIZED:
        return Refusal(
            f"The deployment {base} refuses the token ({data.get('message', '')}). Here it is read from auth=, or from "
            "DURABLE_CONVEX_TOKEN or DURABLE_TOKEN in the environment; there, set it by "
            "`npx convex env set DURABLE_TOKEN ...`.",
            UNAUTHORIZED,
        )
    if code == PROTOCOL:
        return Refusal(_OTHER.format(base=base, why=data.get("message", "")), PROTOCOL)
    return None


def other_protocol(base: str, theirs: object, ours: int) -> Refusal:
    """The component is older or newer than this package."""
    said = f"{theirs:g}" if isinstance(theirs, float) else repr(theirs)
    return Refusal(_OTHER.format(base=base, why=f"{said}, and this package {ours}"), PROTOCOL)


def at_the_door(error: DurableError, base: str, functions: str) -> DurableError:
    """What ``open`` raises: what waiting does not help against is not weather.

    Args:
        functions: The module that should export the component's functions.
    """
    if isinstance(error, Refusal):
        return (Corrupt if error.code == PROTOCOL else InvalidInput)(str(error))
    if isinstance(error, FunctionFailed):
        return Corrupt(
            f"The deployment {base} has no working function {functions}:info ({error.text}). If the component is not "
            "there yet: `durable-convex init`, then `npx convex dev` or `npx convex deploy`. If it is exported by "
            "another module than convex/durable.ts, say ?functions=MODULE. If the deployment is paused or over its "
            "limits, its dashboard says so."
        )
    if type(error) is ReadOnly:
        return InvalidInput(str(error))
    return error

"""Weather is not an outcome: store errors are waited out with back-off, said once, and forgotten when they pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, final

from durable._author.logs import logger
from durable.clock import Clock
from durable.errors import Corrupt, StoreError

T = TypeVar("T")
_log = logger("durable.store")

__all__ = ["Weather"]

_FIRST_SECONDS = 0.02
_LONGEST_SECONDS = 5.0


@final
class Weather:
    """One mouth for one store: what is wrong with it now, if anything.

    Args:
        heed: Told when trouble begins, and with None when it ends.
    """

    def __init__(self, clock: Clock, heed: Callable[[StoreError | None], None] | None = None) -> None:
        self._clock = clock
        self._heed = heed
        self.trouble: StoreError | None = None

    async def through(self, call: Callable[[], Awaitable[T]], *, attempts: int | None = None) -> T:
        """Make the call until it succeeds; every call of the seam may be repeated.

        Args:
            attempts: Give up, raising the error, after so many; None: never.

        Raises:
            Corrupt: Not weather.
            StoreError: After the last attempt.
        """
        delay = _FIRST_SECONDS
        tried = 0
        while True:
            try:
                result = await call()
            except Corrupt:
                raise
            except StoreError as error:
                tried += 1
                self._say(error)
                if attempts is not None and tried >= attempts:
                    self._turn(None)
                    raise
                await self._clock.sleep(delay * (0.5 + self._clock.random()))
                delay = min(delay * 2, _LONGEST_SECONDS)
            else:
                if tried and self.trouble is not None:  # another call's success says nothing about the one that fails
                    _log.warning("The store works again.")
                    self._turn(None)
                return result

    def _say(self, error: StoreError) -> None:
        if self.trouble is None or type(self.trouble) is not type(error):
            _log.warning("The store cannot be used right now, trying on: %s: %s", type(error).__name__, error)
        self._turn(error)

    def _turn(self, error: StoreError | None) -> None:
        turned = (self.trouble is None) is not (error is None)
        self.trouble = error
        if turned and self._heed is not None:
            self._heed(error)

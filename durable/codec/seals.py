"""The last step before a payload is stored and the first after it is read: the size limit and the user's hook."""

from __future__ import annotations

from typing import Protocol, final

from durable._model.defaults import PAYLOAD_BYTES_MAX
from durable.errors import PayloadTooLarge

__all__ = ["Codec", "PayloadHook"]


class PayloadHook(Protocol):
    """Wraps stored bytes: compression, encryption. ``decode(encode(data)) == data`` must hold on every worker.

    What a hook raises is passed on as it is, since only the caller can tell a wrong key from a key service that is
    away.
    """

    def encode(self, data: bytes) -> bytes:
        """The bytes to store for ``data``."""
        ...

    def decode(self, data: bytes) -> bytes:
        """The bytes that ``encode`` was given."""
        ...


@final
class Codec:
    """Seals encoded values for the store, and opens them again.

    Args:
        hook: Wraps the bytes; None stores the JSON as it is.
        payload_bytes_max: The limit for one encoded value, before the hook: what the author can see and change.
    """

    __slots__ = ("_hook", "hooked", "payload_bytes_max")

    def __init__(self, *, hook: PayloadHook | None = None, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        self._hook = hook
        self.hooked = hook is not None
        self.payload_bytes_max = payload_bytes_max

    def check(self, raw: bytes, what: str, *, framing: int = 0) -> bytes:
        """``raw``, if it is within the limit: for what must be refused before an effect, though it is stored later.

        Args:
            raw: An encoded value.
            what: Names the value in the error.
            framing: How many bytes of it are the engine's own, and do not count.

        Raises:
            PayloadTooLarge: It is over the limit.
        """
        size = len(raw) - framing
        if size > self.payload_bytes_max:
            raise PayloadTooLarge(
                f"{what}: {size:,} bytes encoded, and the limit is {self.payload_bytes_max:,}. "
                "Store large data elsewhere (a file, an object store) and pass a reference to it."
            )
        return raw

    def seal(self, raw: bytes, what: str, *, framing: int = 0) -> bytes:
        """The bytes to store for an encoded value; see ``check``.

        Raises:
            PayloadTooLarge: ``raw`` is over the limit; nothing was written.
        """
        if len(raw) - framing > self.payload_bytes_max:
            self.check(raw, what, framing=framing)
        return raw if self._hook is None else self._hook.encode(raw)

    def open(self, data: bytes) -> bytes:
        """The encoded value that was sealed into ``data``."""
        return data if self._hook is None else self._hook.decode(data)

"""The small key-value side table."""

from __future__ import annotations

import asyncio

from durable.store import RecordRow
from durable_testing.conformance.bench import ALL_BYTES, Bench

__all__ = ["Records"]


class Records(Bench):
    """``put_record``, ``get_record``, ``list_records``, ``delete_record``."""

    async def test_a_record_is_kept_with_its_version(self) -> None:
        now = self.clock.now()
        put = await self.store.put_record("kind", "key", ALL_BYTES)
        assert put == RecordRow("kind", "key", ALL_BYTES, 1, now, None)
        self.clock.advance(1)
        assert await self.store.get_record("kind", "key") == put
        again = await self.store.put_record("kind", "key", b"")
        assert again == RecordRow("kind", "key", b"", 2, now + 1, None)
        assert await self.store.get_record("kind", "key") == again

    async def test_kinds_and_keys_are_apart(self) -> None:
        await self.store.put_record("a", "b", b"1")
        assert await self.store.get_record("a", "c") is None
        assert await self.store.get_record("b", "b") is None

    async def test_put_if_puts_only_over_the_expected_version(self) -> None:
        put = self.store.put_record
        assert await put("k", "a", b"1", expect=1) is None
        assert await self.store.get_record("k", "a") is None
        assert await put("k", "a", b"1", expect=0) is not None
        assert await put("k", "a", b"x", expect=0) is None
        assert await put("k", "a", b"x", expect=2) is None
        row = await put("k", "a", b"2", expect=1)
        assert row is not None
        assert (row.value, row.version) == (b"2", 2)

    async def test_one_of_many_concurrent_put_ifs_wins(self) -> None:
        other = await self.twin()
        rows = await asyncio.gather(
            *((self.store, other)[n % 2].put_record("k", "a", b"%d" % n, expect=0) for n in range(10))
        )
        (won,) = [row for row in rows if row is not None]
        assert await other.get_record("k", "a") == won

    async def test_an_expired_record_is_absent(self) -> None:
        row = await self.store.put_record("k", "a", b"1", keep_seconds=10.0)
        assert row is not None
        assert row.expires_at == self.clock.now() + 10
        self.clock.advance(9.5)
        assert await self.store.get_record("k", "a") == row
        self.clock.advance(0.5)
        assert await self.store.get_record("k", "a") is None
        assert list(await self.store.list_records("k")) == []
        assert await self.store.delete_record("k", "a") is False
        again = await self.store.put_record("k", "a", b"2", expect=0)
        assert again is not None
        assert (again.version, again.expires_at) == (1, None)

    async def test_a_put_sets_the_expiry_anew(self) -> None:
        await self.store.put_record("k", "a", b"1", keep_seconds=10.0)
        await self.store.put_record("k", "a", b"2")
        self.clock.advance(100)
        assert await self.store.get_record("k", "a") is not None

    async def test_records_are_listed_by_key_after_a_key(self) -> None:
        keys = ["b", "a", "ä", "z", "%", "🦊", "A", "\uffff"]
        for key in keys:
            await self.store.put_record("k", key, key.encode())
        await self.store.put_record("other", "c", b"")
        rows = await self.store.list_records("k")
        assert [row.key for row in rows] == sorted(keys)
        assert [row.value for row in rows] == [key.encode() for key in sorted(keys)]
        after = ""
        seen: list[str] = []
        while page := await self.store.list_records("k", after, 3):
            seen.extend(row.key for row in page)
            after = page[-1].key
        assert seen == sorted(keys)

    async def test_delete_says_whether_there_was_one(self) -> None:
        await self.store.put_record("k", "a", b"")
        assert await self.store.delete_record("k", "a") is True
        assert await self.store.delete_record("k", "a") is False
        assert await self.store.get_record("k", "a") is None
        row = await self.store.put_record("k", "a", b"", expect=0)
        assert row is not None
        assert row.version == 1

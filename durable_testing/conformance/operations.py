"""The table of all operations: what a store can be asked, and in which situations of a run the question matters.

The protocol's own members and unions are the measure: a method of ``Store``, a kind of ``Then`` or a verb that is
missing here fails a test of ours, so whoever adds one adds its row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from durable.store import (
    CLOSING_LANE,
    Blocked,
    Cancel,
    Closed,
    Commit,
    Continued,
    Emit,
    Ended,
    Fork,
    Held,
    MessageId,
    Part,
    Pause,
    Paused,
    PurgeQuery,
    Released,
    Resume,
    Retry,
    Rewound,
    Running,
    RunQuery,
    RunStatus,
    Settle,
    Store,
    Terminate,
    Then,
    Verb,
    Waiting,
    Want,
)
from durable_testing.conformance.scenes import Scene

__all__ = ["ELSEWHERE", "OPERATIONS", "READS", "WRITES", "Ask", "Operation"]

Ask = Callable[[Store], Awaitable[object]]
Make = Callable[[Scene, str], Ask]
"""Writes an operation down for a scene, before anything is asked; the text tells two askers' words apart."""


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    Attributes:
        name: ``commit_waiting``, ``poll``, ``get``: a word for tests and messages.
        method: Of ``Store``.
        make: Writes the call down.
        homes: Situations in which it does something; empty for reads, which go wherever their partner is at home.
        kind: Of ``Then`` or of ``Verb``, if it carries one.
    """

    name: str
    method: str
    make: Make
    homes: tuple[str, ...] = ()
    kind: type | None = None

    @property
    def reads(self) -> bool:
        return not self.homes


# ── runs and workers ─────────────────────────────────────────────────────────────────────────────────────────────────


def _create(scene: Scene, who: str) -> Ask:
    return lambda store: store.create([scene.later("n", labels={"who": who})])


def _create_replace(scene: Scene, who: str) -> Ask:
    new = scene.new("r", digest=f"digest {who}", seed=f"seed {who}", labels={"who": who}, replace=scene.tag + who)
    return lambda store: store.create([new])


def _poll(scene: Scene, who: str) -> Ask:
    worker = scene.new_worker(who)
    want = Want(f"poll {who}", (scene.lane, CLOSING_LANE), 10)
    return lambda store: store.poll(worker.session, want)


def _poll_by_owner(scene: Scene, who: str, *, silent: bool) -> Ask:
    grip = scene.grip
    held = () if silent or grip is None else (Held(grip.run, grip.epoch),)
    want = Want(f"poll {who}", (scene.lane, CLOSING_LANE), 10, held)
    return lambda store: store.poll(scene.worker.session, want)


def _renew(scene: Scene, who: str) -> Ask:
    return lambda store: store.renew(scene.worker.session)


def _leave(scene: Scene, who: str) -> Ask:
    return lambda store: store.leave(scene.worker.session.id)


# ── commits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _then(scene: Scene, kind: type) -> Then:
    known: Mapping[type, Then] = {
        Running: Running(),
        Waiting: Waiting(None, 0),
        Released: Released(),
        Paused: Paused(),
        Blocked: Blocked("engine", "why", "call"),
        Ended: Ended(RunStatus.COMPLETED, b"outcome", keep_seconds=5.0, closing=True),
        Continued: Continued(scene.lane.workflow, "1", b"again", "digest", "seed"),
        Rewound: Rewound(scene.id("r"), 1, (0,), (0, 0)),
        Closed: Closed(),
    }
    return known[kind]


def _commit(scene: Scene, who: str, *, kind: type) -> Ask:
    """The owner's next commit, as large as its ``then`` allows; before any claim, that of somebody who guesses."""
    grip = scene.grip
    epoch, seq, position = (1, 0, 0) if grip is None else (grip.epoch, grip.seq, grip.position)
    run, then = scene.id("r"), _then(scene, kind)
    if kind in (Rewound, Closed):  # nothing else may be in such a commit; nothing is appended to an ended run
        asked = Commit(run, epoch, seq, position, then=then)
    else:
        read = MessageId(f"pause/{scene.tag}pause") if kind is Paused else MessageId(f"{scene.tag}m1")
        asked = Commit(
            run,
            epoch,
            seq,
            position,
            append=(f"entry {who}".encode(),),
            then=then,
            flushed=(1, 1),
            consumed=(read,),
            messages=(scene.signal(f"said by {who}", to="o"),),
            children=(scene.later("d", digest=f"digest {who}"),),
            values=(("k", who.encode()),),
            emits=(Emit("s", who.encode()),),
            parts=(Part(who, who.encode()),),
        )
    return lambda store: store.commit([asked])


# ── messages and verbs ───────────────────────────────────────────────────────────────────────────────────────────────


def _send(scene: Scene, who: str) -> Ask:
    return lambda store: store.send([scene.signal("m2")])


def _verb(scene: Scene, kind: type) -> Verb:
    grip = scene.grip
    known: Mapping[type, Verb] = {
        Cancel: Cancel("why", b"reason", b"cancelled"),
        Terminate: Terminate("enough", b"terminated"),
        Pause: Pause(),
        Resume: Resume(),
        Retry: Retry(b"order"),
        Fork: Fork(scene.later("f"), b"order"),
        Settle: Settle(b"settled", 0 if grip is None else grip.position),
    }
    return known[kind]


def _control(scene: Scene, who: str, *, kind: type) -> Ask:
    asked = scene.control(f"{kind.__name__} by {who}", _verb(scene, kind))
    return lambda store: store.control([asked])


def _purge(scene: Scene, who: str) -> Ask:
    return lambda store: store.purge(PurgeQuery(runs=(scene.id("r"),)))


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _put_record(scene: Scene, who: str) -> Ask:
    return lambda store: store.put_record(scene.tag, "k", who.encode(), expect=1, keep_seconds=50.0)


def _delete_record(scene: Scene, who: str) -> Ask:
    return lambda store: store.delete_record(scene.tag, "k")


# ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _get(scene: Scene, who: str) -> Ask:
    return lambda store: store.get([scene.id(name) for name in "rpocdnf"])


def _stats(scene: Scene, who: str) -> Ask:
    async def ask(store: Store) -> object:
        """How large the store is, is its own affair."""
        return {name: figure for name, figure in (await store.stats()).items() if name != "bytes"}

    return ask


def _read(method: str, say: Callable[[Scene], tuple[object, ...]]) -> Operation:
    def make(scene: Scene, who: str) -> Ask:
        return lambda store: getattr(store, method)(*say(scene))

    return Operation(method, method, make)


# Commits of an owner, each where it does what it is for.
_COMMIT_HOMES: Final[Mapping[type, tuple[str, ...]]] = {
    Running: ("held",),
    Waiting: ("held",),
    Released: ("held",),
    Paused: ("pausing",),
    Blocked: ("held",),
    Ended: ("held",),
    Continued: ("held",),
    Rewound: ("rewinding",),
    Closed: ("closer",),
}

_VERB_HOMES: Final[Mapping[type, tuple[str, ...]]] = {
    Cancel: ("held", "pending"),
    Terminate: ("held",),
    Pause: ("waiting",),
    Resume: ("pausing", "paused"),
    Retry: ("ended", "closer"),
    Fork: ("held",),
    Settle: ("blocked",),
}

WRITES: Final = (
    Operation("create", "create", _create, ("pending",)),
    Operation("create_replace", "create", _create_replace, ("held",)),
    Operation("poll", "poll", _poll, ("pending", "expired", "closing")),
    Operation("poll_by_owner", "poll", partial(_poll_by_owner, silent=False), ("held",)),
    Operation("poll_after_lost_claims", "poll", partial(_poll_by_owner, silent=True), ("held",)),
    Operation("renew", "renew", _renew, ("expired",)),
    Operation("leave", "leave", _leave, ("held",)),
    *(
        Operation(f"commit_{kind.__name__.lower()}", "commit", partial(_commit, kind=kind), homes, kind)
        for kind, homes in _COMMIT_HOMES.items()
    ),
    Operation("send", "send", _send, ("waiting",)),
    *(
        Operation(kind.__name__.lower(), "control", partial(_control, kind=kind), homes, kind)
        for kind, homes in _VERB_HOMES.items()
    ),
    Operation("purge", "purge", _purge, ("ended",)),
    Operation("put_record", "put_record", _put_record, ("recorded",)),
    Operation("delete_record", "delete_record", _delete_record, ("recorded",)),
)
"""Operations that change something."""

READS: Final = (
    _read("now", lambda scene: ()),
    Operation("get", "get", _get),
    _read("input", lambda scene: (scene.id("r"),)),
    _read("outcome", lambda scene: (scene.id("r"),)),
    _read("list", lambda scene: (RunQuery(id_prefix=scene.tag),)),
    _read("count", lambda scene: (RunQuery(id_prefix=scene.tag, statuses=(RunStatus.PENDING, RunStatus.RUNNING)),)),
    _read("journal", lambda scene: (scene.id("r"), 1)),
    _read("messages", lambda scene: (scene.id("r"),)),
    _read("values", lambda scene: (scene.id("r"),)),
    _read("stream", lambda scene: (scene.id("r"), "s")),
    _read("parts", lambda scene: (scene.id("r"), ["h", "a"])),
    _read("sessions", lambda scene: ()),
    _read("check", lambda scene: ()),
    Operation("stats", "stats", _stats),
    _read("get_record", lambda scene: (scene.tag, "k")),
    _read("list_records", lambda scene: (scene.tag,)),
)
"""Operations that change nothing."""

OPERATIONS: Final = (*WRITES, *READS)
"""All of them."""

ELSEWHERE: Final[Mapping[str, str]] = {
    "open": "Each session of each test opens and closes beside others; `lifecycle` has what is to be said of it.",
    "close": "As `open`.",
    "dedicated": "Gives an unopened session and asks the store nothing; `lifecycle`.",
    "changes": "Hints are never the correctness path and have no order that could be compared; `hints`.",
    "hinted": "A constant of the store; `hints`.",
}
"""Members of ``Store`` that touch no run, and where they are tested instead."""

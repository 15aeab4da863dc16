"""The engines that are measured beside ours: those that pip installs, and that need no server."""

from __future__ import annotations

from typing import Final

from benchmarks.peers.environment import Peer

DBOS: Final = Peer("DBOS on SQLite", ("dbos",), "dbos_driver")
LANGGRAPH: Final = Peer("LangGraph on SQLite", ("langgraph", "langgraph-checkpoint-sqlite"), "langgraph_driver")
PEERS: Final = (DBOS, LANGGRAPH)

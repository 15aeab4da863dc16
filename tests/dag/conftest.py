"""What the tests of the README share."""

from collections.abc import Iterator

import pytest

from tests.dag.services import Services, eventually
from tests.dag.serving import Server


@pytest.fixture(scope="module")
def _live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Services() as services:
        server = Server(tmp_path_factory.mktemp("live"), services)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def live(_live: Server) -> Iterator[Server]:
    """A server that other tests have used, whose services remember nothing of it."""
    _live.services.forget()
    yield _live
    eventually(lambda: all(one["status"] in ("delivered", "dead") for one in _live.get("/webhook-deliveries")))

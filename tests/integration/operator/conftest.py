from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.conftest import folder
from integration.operator.operators import Namespace, Operator, install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.servers import Broker, Kubernetes


@pytest.fixture(scope="session")
def process(kubernetes: Kubernetes, broker: Broker) -> Iterator[Operator]:
    """Prepare the operator that all tests share; some of them kill it."""
    install(kubernetes)
    with folder() as path:
        operator = Operator(kubernetes, broker, Path(path))
        try:
            yield operator
        finally:
            operator.kill()


@pytest.fixture
def operator(process: Operator, kubernetes: Kubernetes, broker: Broker) -> Operator:
    """Return the operator, running, as both servers are."""
    for server in (kubernetes.api_server, broker.process):
        if server.pid is None:
            server.start()
    kubernetes.await_ready()
    broker.await_ready()
    process.start()
    return process


@pytest.fixture
def namespace(kubernetes: Kubernetes, broker: Broker) -> Iterator[Namespace]:
    """Return a namespace of the test's own; what it leaves in Kubernetes is deleted, in the background."""
    space = Namespace(kubernetes, broker, f"t{uuid.uuid4().hex[:8]}")
    yield space
    space.leave()

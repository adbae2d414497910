from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.releases import cluster_in
from integration.secured import SecuredBroker
from integration.servers import Broker, Kubernetes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.releases import Cluster

LONGEST = (
    *("agent/test_delivery.py", "agent/test_chaos.py", "operator/test_observing.py", "test_chart.py"),
    *("operator/test_security.py", "agent/test_rebalances.py", "operator/test_failures.py"),
    *("agent/test_developing.py", "agent/test_takeovers.py", "agent/test_transactions.py"),
)
"""Begun first, so that no process is left with a long file when the others have nothing more to do."""
PREFIX = "kafleet-test-"
MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it


@pytest.hookimpl(trylast=True)  # after the random order has been made
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, one after the other; the rest stays in its random order."""

    def rank(item: pytest.Item) -> int:
        path = str(item.path)
        return next(
            (place for place, file in enumerate(LONGEST) if path.endswith(f"integration/{file}")),
            len(LONGEST),
        )

    items.sort(key=rank)


def folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder, in memory where that is possible, and removed on leaving its context."""
    parent = MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():  # a run that was killed could not remove its own
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(
        prefix=f"{PREFIX}{os.getpid()}-", dir=parent, ignore_cleanup_errors=True
    )


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Kubernetes]:
    """Run a Kubernetes for this session."""
    with folder() as path:
        servers = Kubernetes(Path(path))
        try:
            servers.start()
            servers.await_ready()
            yield servers
        finally:
            servers.stop()


@pytest.fixture(scope="session")
def kubeconfig(kubernetes: Kubernetes) -> Path:
    """Return the administrator's kubeconfig."""
    return kubernetes.kubeconfig


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """Run a Kafka for this session."""
    with folder() as path:
        server = Broker(Path(path))
        try:
            server.start()
            server.await_ready()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def secured_broker() -> Iterator[SecuredBroker]:
    """Run a Kafka that trusts nobody for this file."""
    with folder() as path:
        server = SecuredBroker(Path(path))
        try:
            server.start()
            server.await_ready()
            with server.provider:
                yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def bootstrap_servers(broker: Broker) -> str:
    """Return the address of the broker."""
    return broker.bootstrap_servers


@pytest.fixture(scope="module")
def cluster(bootstrap_servers: str) -> Iterator[Cluster]:
    """Run a Kubernetes for this file that the chart is installed into, again and again."""
    with folder() as path, cluster_in(Path(path), bootstrap_servers) as made:
        yield made

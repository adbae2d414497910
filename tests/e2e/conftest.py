"""The local cluster with the chart installed from this checkout; it is left up when the tests end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import uuid
from typing import TYPE_CHECKING

import pytest
from demo.broker import Broker
from demo.cluster import Cluster, bring_up, load_images, local
from e2e.fleets import Fleet
from e2e.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

QUICK = ("observeSeconds=1",)  # an edit of a ConfigMap is seen after three of these
FAILED = pytest.StashKey[bool]()


class Alone:
    """A lock for each piece of work that the processes of one run share; they are in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def first_of(self, work: str) -> Iterator[bool]:
        """Hold the lock of that work; True for the first, and again while no block has come to its end."""
        with (self._folder / f"{work}.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            yield not lock.read()
            lock.write("done")


@pytest.hookimpl(trylast=True)  # after the random order has been made
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what ends the cluster after everything that needs it."""
    items.sort(key=lambda item: item.get_closest_marker("destructive") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which tests failed, so that their fleets tell why before they are removed."""
    report = yield
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """Return what keeps the processes of this run from doing the same work at the same time."""
    folder = tmp_path_factory.getbasetemp()
    return Alone(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture(scope="session")
def images(alone: Alone) -> dict[str, str]:
    """Load this checkout's images into the local cluster, which is started if it does not run."""
    with alone.first_of("images"):
        bring_up()
        return load_images()


@pytest.fixture(scope="session")
def install(images: dict[str, str]) -> Callable[..., None]:
    """Return what installs or upgrades the chart, with the values it is given."""

    def run(*values: str) -> None:
        bring_up().install(images, *QUICK, *values)

    return run


@pytest.fixture(scope="session")
def cluster(alone: Alone, install: Callable[..., None]) -> Cluster:
    """Give the local cluster a broker and this checkout's operator."""
    with alone.first_of("chart") as is_first:
        found = bring_up()
        if is_first:
            local("kafka")
            install()
    return found


@pytest.fixture(scope="session")
def broker(cluster: Cluster) -> Broker:
    return Broker(cluster.broker_address())


@pytest.fixture(scope="session")
def topics(broker: Broker) -> Topics:
    return Topics(broker.address)


@pytest.fixture
def make_fleet(
    cluster: Cluster, broker: Broker, request: pytest.FixtureRequest
) -> Iterator[Callable[[], Fleet]]:
    """Return what makes a namespace for fleets, with the strictest pod security; in the end they go."""
    made: list[Fleet] = []
    words = re.sub(r"[^a-z]+", "-", request.node.name.removeprefix("test_"))[:24].strip("-")

    def make() -> Fleet:
        namespace = f"e2e-{words}-{uuid.uuid4().hex[:4]}"
        cluster.kubectl("create", "namespace", namespace)
        cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        made.append(Fleet(cluster, broker, namespace))
        return made[-1]

    yield make
    if request.node.stash.get(FAILED, True):
        for fleet in made:
            fleet.diagnose()
    for fleet in made:
        fleet.remove()


@pytest.fixture
def fleet(make_fleet: Callable[[], Fleet]) -> Fleet:
    """Make a namespace for one fleet, and perhaps its neighbours."""
    return make_fleet()

"""The local cluster with the chart installed from this checkout; it is left up when the tests end."""

from __future__ import annotations

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

QUICK = ("observeSeconds=1",)  # an edit of a ConfigMap is seen after three of these
FAILED = pytest.StashKey[bool]()


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
def images() -> dict[str, str]:
    """Load this checkout's images into the local cluster, which is started if it does not run."""
    bring_up()
    return load_images()


@pytest.fixture(scope="session")
def install(images: dict[str, str]) -> Callable[..., None]:
    """Return what installs or upgrades the chart, with the values it is given."""

    def run(*values: str) -> None:
        bring_up().install(images, *QUICK, *values)

    return run


@pytest.fixture(scope="session")
def cluster(install: Callable[..., None]) -> Cluster:
    """Give the local cluster a broker and this checkout's operator."""
    found = bring_up()
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

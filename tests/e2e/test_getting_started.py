"""docs/getting-started.md, command by command, as it stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo.cluster import PROJECT
from documents import blocks
from e2e.commands import run, shown
from e2e.fleets import Fleet
from e2e.images import tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from demo.broker import Broker
    from demo.cluster import Cluster

PAGE = "docs/getting-started.md"
# The page builds the images and pushes them; here the cluster gets this checkout's under those names.
BUILDING = "docker build"


@pytest.fixture
def shout(
    cluster: Cluster, broker: Broker, images: dict[str, str], install: Callable[..., None]
) -> Iterator[Fleet]:
    """Give the page its images; put the chart back afterwards, and remove what is left."""
    for name in ("operator", "agent"):
        tag(images[name], f"registry.example/kafleet/{name}:0.1.0")
    fleet = Fleet(cluster, broker, "default", "shout")
    yield fleet
    fleet.kubectl("delete", "ag/shout", "configmap/shout-code", "--ignore-not-found", "--timeout=240s")
    fleet.wait_gone()
    mine = {name for name in fleet.own_topics() if name.startswith("default.shout.")}
    broker.delete(mine, {fleet.group, "getting-started"} & broker.groups())
    install()


@pytest.mark.disturbing
def test_the_first_fleet_comes_about_as_shown(shout: Fleet, cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "charts").symlink_to(PROJECT / "charts")
    files = {block.language: block.text for block in blocks("python", "yaml") if block.place.startswith(PAGE)}
    (tmp_path / "shout.py").write_text(files["python"])
    (tmp_path / "shout.yaml").write_text(files["yaml"])

    printed = [run(cluster, commands, tmp_path) for commands in shown(PAGE) if BUILDING not in commands]

    told = "\n".join(printed)
    assert """default.shout.results b'greeting' b'{"text":"HELLO!!","attempt":1}'\nb'answered'""" in told
    assert "default.shout.dead-letters b'greeting' b'nonsense'\nb'InvalidPayload'" in told
    assert shout.own_topics() >= {shout.tasks, shout.results, shout.dead_letters}

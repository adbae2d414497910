"""What kubectl shows, checks and changes of a group, as its users need it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from demo.errors import Failed
from e2e.fleets import NAME, merged

if TYPE_CHECKING:
    from demo.cluster import Json
    from e2e.fleets import Fleet


def test_kubectl_serves_a_groups_users(fleet: Fleet) -> None:
    """One fleet for all of it: each word is asked for in turn."""
    fleet.apply()
    fleet.kubectl("wait", f"ag/{NAME}", "--for=condition=Ready", "--timeout=240s")

    look(fleet)
    explain(fleet)
    compare(fleet)
    refuse(fleet)
    scale(fleet)


def look(fleet: Fleet) -> None:
    narrow = fleet.kubectl("get", "ag").splitlines()
    wide = fleet.kubectl("get", "kafleet", "-o", "wide").splitlines()
    described = fleet.kubectl("describe", f"agentgroup/{NAME}")

    assert narrow[0].split() == ["NAME", "DESIRED", "AGENTS", "LAG", "READY", "REASON", "AGE"]
    assert narrow[1].split()[:-1] == [NAME, "2", "2", "0", "True", "AllReady"]
    assert wide[0].split()[7:10] == ["INBOX", "OUTBOX", "DEAD"]
    assert wide[1].split()[7:10] == [fleet.tasks, fleet.results, "0"]
    assert "AllReady" in described
    assert described.rpartition("Events:")[2].count("\n") > 2


def explain(fleet: Fleet) -> None:
    """Every field of the spec has words of its own."""
    explained = fleet.kubectl("explain", "ag.spec", "--recursive")
    timeout = fleet.kubectl("explain", "ag.spec.delivery.taskTimeout")

    assert re.search(r"^ +taskTimeout\t<string>", explained, re.MULTILINE)
    assert len(timeout.partition("DESCRIPTION:")[2].strip()) > 20


def compare(fleet: Fleet) -> None:
    """`diff` and a server-side dry run tell what would come, and change nothing."""
    before = fleet.resource()
    same, other = fleet.manifest(), fleet.manifest(spec={"delivery": {"maxAttempts": 9}})

    assert fleet.kubectl("diff", "-f", "-", given=json.dumps(same)) == ""
    with pytest.raises(Failed, match=r"`kubectl .* diff"):  # a difference is its exit status 1
        fleet.kubectl("diff", "-f", "-", given=json.dumps(other))
    said = fleet.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", given=json.dumps(other))
    assert json.loads(said)["spec"]["delivery"]["maxAttempts"] == 9
    assert fleet.resource()["spec"] == before["spec"]


def refuse(fleet: Fleet) -> None:
    """Wish for what cannot be: it is not stored, and the words name the field and the way out."""
    before = fleet.resource()["spec"]

    with pytest.raises(Failed, match=r"more than tasks.partitions"):
        fleet.kubectl("scale", f"ag/{NAME}", "--replicas=13")
    with pytest.raises(Failed, match=r"Kafka cannot take partitions away"):
        fleet.edit({"tasks": {"partitions": 3}})
    with pytest.raises(Failed, match=r"onGrowth: Reorder"):
        fleet.edit({"tasks": {"partitions": 24}})
    misspelt: Json = merged(fleet.manifest(), {"spec": {"deliverry": {}}})
    with pytest.raises(Failed, match=r'unknown field "spec.deliverry"'):
        fleet.apply_object(misspelt)

    assert fleet.resource()["spec"] == before


def scale(fleet: Fleet) -> None:
    fleet.kubectl("scale", f"ag/{NAME}", "--replicas=3")
    fleet.kubectl("wait", f"ag/{NAME}", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=240s")
    fleet.kubectl("wait", f"ag/{NAME}", "--for=condition=Ready", "--timeout=240s")

    assert json.loads(fleet.kubectl("get", f"ag/{NAME}", "--subresource=scale", "-o", "json"))["status"] == {
        "replicas": 3,
        "selector": fleet.status()["selector"],
    }
    assert len(fleet.read("pods", "-l", fleet.status()["selector"])["items"]) == 3

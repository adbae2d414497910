"""The chart can go and come back, for one namespace or for all; fleets, their work and their topics stay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from demo.broker import held_by
from demo.cluster import RELEASE, SYSTEM
from e2e.commands import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.fleets import Fleet

HELM_TEST = f"helm test {RELEASE} --namespace {SYSTEM} --logs"


@pytest.mark.disturbing
def test_fleets_outlive_the_chart_which_comes_back_for_one_namespace_and_then_for_all(
    make_fleet: Callable[[], Fleet], install: Callable[..., None]
) -> None:
    inside, outside = make_fleet(), make_fleet()
    for fleet in (inside, outside):
        fleet.apply(replicas=1, partitions=3)
    for fleet in (inside, outside):
        fleet.wait_ready()
    before = inside.pod_names()

    inside.cluster.uninstall()
    try:
        inside.send(10)
        inside.wait_done()
        assert inside.resource()["spec"]["workers"]["replicas"] == 1

        install(f"watch.namespaces={{{inside.namespace}}}")
        assert "is served" in run(inside.cluster, HELM_TEST)
        served_before = outside.status()["observedGeneration"]
        outside.kubectl("scale", f"ag/{outside.name}", "--replicas=2")
        inside.wait_ready()
        assert inside.pod_names() == before
        inside.kubectl("scale", f"ag/{inside.name}", "--replicas=2")
        inside.until("two agents to share the work", lambda: len(held_by(inside.shares())) == 2)
        inside.send(5)
        inside.wait_done()

        assert outside.status()["observedGeneration"] == served_before
        assert may_list_groups(inside)
        assert not may_list_groups(outside)
    finally:
        install()
    outside.wait_ready()
    assert "is served" in run(outside.cluster, HELM_TEST)

    assert len(outside.pods()) == 2
    assert inside.verdict().problems == ()


def may_list_groups(fleet: Fleet) -> bool:
    """Ask the API server whether the operator may list AgentGroups in the fleet's namespace."""
    wish = {"namespace": fleet.namespace, "verb": "list", "group": "kafleet.dev", "resource": "agentgroups"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{SYSTEM}:{RELEASE}", "resourceAttributes": wish},
    }
    answer = fleet.kubectl("create", "-o", "json", "-f", "-", given=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])

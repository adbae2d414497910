"""What a real API server takes and refuses, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiClient, CustomObjectsApi
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from unit.operator.api.examples import INVALID, VALID, spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.servers import Kubernetes

Json = dict[str, Any]
CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "admission"
WHERE = {"group": "kafleet.dev", "version": "v1alpha1", "namespace": NAMESPACE, "plural": "agentgroups"}


class Server:
    """AgentGroups as an API server keeps them; what is tried is a dry run."""

    def __init__(self, client: ApiClient) -> None:
        self._objects = CustomObjectsApi(client)

    def create(self, name: str, spec: Json, *, dry_run: bool = True) -> Json:
        body = {
            "apiVersion": "kafleet.dev/v1alpha1",
            "kind": "AgentGroup",
            "metadata": {"name": name},
            "spec": spec,
        }
        how = {"dry_run": "All"} if dry_run else {}
        created: Json = self._objects.create_namespaced_custom_object(**WHERE, body=body, **how)
        return created

    def patch(self, name: str, spec: Json) -> Json:
        patched: Json = self._objects.patch_namespaced_custom_object(
            **WHERE, name=name, body={"spec": spec}, dry_run="All"
        )
        return patched

    def scale(self, name: str, replicas: int) -> Json:
        scaled: Json = self._objects.patch_namespaced_custom_object_scale(
            **WHERE, name=name, body={"spec": {"replicas": replicas}}, dry_run="All"
        )
        return scaled

    def delete(self, name: str) -> None:
        self._objects.delete_namespaced_custom_object(**WHERE, name=name)


def message_of(caught: pytest.ExceptionInfo[ApiException]) -> str:
    assert caught.value.status == 422
    message: str = json.loads(caught.value.body)["message"]
    return message


@pytest.fixture(scope="module")
def server(kubernetes: Kubernetes, kubeconfig: Path) -> Iterator[Server]:
    """Start from an API server that knows AgentGroups, with one called `triage` of 4 task partitions."""
    definitions = [f"--filename={path}" for path in CRDS.glob("*.yaml")]
    kubernetes.kubectl("apply", "--server-side", *definitions)
    kubernetes.kubectl("wait", "--for=condition=Established", "--timeout=30s", *definitions)
    kubernetes.kubectl("create", "namespace", NAMESPACE)
    with new_client_from_config(str(kubeconfig)) as client:
        server = Server(client)
        server.create("triage", spec({"replicas": 2}, tasks={"partitions": 4}, suspend=True), dry_run=False)
        yield server
        server.delete("triage")


@pytest.mark.parametrize("name", VALID)
def test_what_makes_sense_is_taken(server: Server, name: str) -> None:
    """And nothing that was given is pruned."""
    kept = server.create("fine", VALID[name])["spec"]

    assert contains(kept, VALID[name])


def contains(kept: Any, given: Any) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(given, dict):
        return all(name in kept and contains(kept[name], value) for name, value in given.items())
    if isinstance(given, list):
        return len(kept) == len(given) and all(map(contains, kept, given))
    return bool(kept == given)


@pytest.mark.parametrize("name", INVALID)
def test_nonsense_is_refused_in_words(server: Server, name: str) -> None:
    """The message names the field or the rule, and what to do."""
    with pytest.raises(ApiException) as caught:
        server.create("wrong", INVALID[name].spec)

    assert INVALID[name].admission in message_of(caught)


@pytest.mark.parametrize("name", ["a" * 41, "with.dot"])
def test_names_leave_room_for_lanes(server: Server, name: str) -> None:
    """Kubernetes objects are named <resource>-<lane>."""
    with pytest.raises(ApiException) as caught:
        server.create(name, VALID["minimal"])

    assert "the name must be at most 40 characters" in message_of(caught)
    assert server.create("a" * 40, VALID["minimal"])["metadata"]["name"] == "a" * 40


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": {"partitions": 3}}, "Kafka cannot take partitions away"),
        ({"tasks": {"partitions": 5}}, "set onGrowth: Reorder to allow it"),
        ({"deadLetters": {"partitions": 11}}, "Kafka cannot take partitions away"),
        ({"tasks": {"topic": "other"}}, "a topic cannot be renamed"),
        ({"results": {"topic": "other"}}, "a topic cannot be renamed"),
        ({"workers": {"replicas": 5}}, "workers.replicas is more than tasks.partitions"),
    ],
)
def test_changes_that_cannot_be_made_are_refused(server: Server, change: Json, words: str) -> None:
    """What Kafka cannot do, or what would break the order of keys."""
    with pytest.raises(ApiException) as caught:
        server.patch("triage", change)

    assert words in message_of(caught)


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": {"partitions": 5, "onGrowth": "Reorder"}},
        {"tasks": {"partitions": 8, "onGrowth": "Reorder"}, "workers": {"replicas": 8}},
        {"workers": {"replicas": None}},
        {"delivery": {"taskTimeout": "2m"}},
        {"deletionPolicy": "Delete"},
    ],
)
def test_changes_that_can_be_made_are_taken(server: Server, change: Json) -> None:
    """Growth with leave, scaling, and whatever rolls the pods."""
    assert server.patch("triage", change)["metadata"]["name"] == "triage"


def test_scaling_keeps_to_the_rules(server: Server) -> None:
    """`kubectl scale` cannot ask for more agents than partitions either."""
    assert server.scale("triage", 4)["spec"]["replicas"] == 4
    with pytest.raises(ApiException) as caught:
        server.scale("triage", 5)

    assert "workers.replicas is more than tasks.partitions" in message_of(caught)

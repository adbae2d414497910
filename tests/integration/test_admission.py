"""What a real API server takes and refuses, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.servers import eventually
from kubernetes.client import ApiClient, CustomObjectsApi
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from unit.operator.api.examples import VALID, spec
from unit.operator.api.refusals import INVALID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.servers import Kubernetes

Json = dict[str, Any]
CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "admission"
WHERE = {"group": "kafleet.dev", "version": "v1alpha1", "namespace": NAMESPACE, "plural": "agentgroups"}


KEPT = {
    "triage": spec({"replicas": 2}, tasks={"partitions": 4}, results={"partitions": 20}, suspend=True),
    "named": spec(
        tasks={"topic": "tasks", "config": {"retention.ms": "3600000"}},
        results={"topic": "theirs", "managed": False},
        suspend=True,
    ),
    "foreign": spec({"replicas": 20}, tasks={"topic": "theirs", "managed": False}, suspend=True),
}


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
    """Start from an API server that knows AgentGroups, and some of them."""
    definitions = [f"--filename={path}" for path in CRDS.glob("*.yaml")]
    kubernetes.kubectl("apply", "--server-side", *definitions)
    kubernetes.kubectl("wait", "--for=condition=Established", "--timeout=300s", *definitions)
    kubernetes.kubectl("create", "namespace", NAMESPACE)
    with new_client_from_config(str(kubeconfig)) as client:
        server = Server(client)
        for name, kept in KEPT.items():
            server.create(name, kept, dry_run=False)
        yield server
        for name in KEPT:
            server.delete(name)


@pytest.mark.parametrize("name", VALID)
def test_what_makes_sense_is_taken(server: Server, name: str) -> None:
    """And nothing that was given is pruned."""
    kept = server.create("fine", VALID[name])["spec"]

    assert contains(kept, VALID[name])


def test_there_are_examples_enough() -> None:
    """Sixty that are refused and fifteen that are taken, each of another kind."""
    assert len({each.admission for each in INVALID.values()}) > 40
    assert len(INVALID) >= 60
    assert len(VALID) >= 15


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


REFUSED_CHANGES: dict[str, tuple[str, Json, str]] = {
    "fewer partitions": ("triage", {"tasks": {"partitions": 3}}, "Kafka cannot take partitions away"),
    "fewer by default": ("triage", {"results": None}, "Kafka cannot take partitions away"),
    "fewer dead letters": (
        "triage",
        {"deadLetters": {"partitions": 11}},
        "Kafka cannot take partitions away",
    ),
    "growth without leave": ("triage", {"tasks": {"partitions": 5}}, "set onGrowth: Reorder to allow it"),
    "growth by default": ("triage", {"tasks": None}, "set onGrowth: Reorder to allow it"),
    "growth with leave for another": (
        "triage",
        {"tasks": {"onGrowth": "Reorder"}, "deadLetters": {"partitions": 13}},
        "set onGrowth: Reorder to allow it",
    ),
    "a default name becomes another": ("triage", {"tasks": {"topic": "other"}}, "a topic cannot be renamed"),
    "a default name becomes a foreign topic": (
        "triage",
        {"results": {"topic": "other", "managed": False}},
        "a topic cannot be renamed",
    ),
    "a name becomes another": ("named", {"tasks": {"topic": "other"}}, "a topic cannot be renamed"),
    "a name becomes the default": ("named", {"tasks": {"topic": None}}, "a topic cannot be renamed"),
    "a named topic is left out": ("named", {"tasks": None}, "a topic cannot be renamed"),
    "a foreign topic loses its name": (
        "named",
        {"results": {"managed": True, "topic": ""}},
        "a topic cannot be renamed",
    ),
    "more replicas than partitions": (
        "triage",
        {"workers": {"replicas": 5}},
        "workers.replicas is more than tasks.partitions",
    ),
    "fewer partitions than replicas, once managed": (
        "foreign",
        {"tasks": {"managed": True}},
        "workers.replicas is more than tasks.partitions",
    ),
    "a longer timeout than the retention": (
        "named",
        {"delivery": {"taskTimeout": "2h"}},
        "retention.ms of tasks is shorter than delivery.taskTimeout",
    ),
    "a given-up topic with settings": (
        "named",
        {"tasks": {"managed": False}},
        "managed: false leaves the topic as its owner made it",
    ),
}


@pytest.mark.parametrize("change", REFUSED_CHANGES)
def test_changes_that_cannot_be_made_are_refused(server: Server, change: str) -> None:
    """What Kafka cannot do, or what would break the order of keys."""
    name, patch, words = REFUSED_CHANGES[change]
    with pytest.raises(ApiException) as caught:
        server.patch(name, patch)

    assert words in message_of(caught)


ALLOWED_CHANGES: dict[str, tuple[str, Json]] = {
    "growth with leave": ("triage", {"tasks": {"partitions": 5, "onGrowth": "Reorder"}}),
    "growth and more replicas": (
        "triage",
        {"tasks": {"partitions": 8, "onGrowth": "Reorder"}, "workers": {"replicas": 8}},
    ),
    "replicas left out": ("triage", {"workers": {"replicas": None}}),
    "another timeout": ("triage", {"delivery": {"taskTimeout": "2m"}}),
    "another policy": ("triage", {"deletionPolicy": "Delete"}),
    "other settings": ("named", {"tasks": {"config": {"retention.ms": None, "segment.ms": "1"}}}),
    "a topic is given up": ("named", {"tasks": {"managed": False, "config": None}}),
    "a foreign topic is taken on": ("named", {"results": {"managed": True, "partitions": 3}}),
    "fewer partitions wished of a foreign topic": ("foreign", {"tasks": {"partitions": 1}}),
    "more replicas on a foreign topic": ("foreign", {"workers": {"replicas": 40}}),
}


@pytest.mark.parametrize("change", ALLOWED_CHANGES)
def test_changes_that_can_be_made_are_taken(server: Server, change: str) -> None:
    """Growth with leave, scaling, another owner, and whatever rolls the pods."""
    name, patch = ALLOWED_CHANGES[change]

    assert server.patch(name, patch)["metadata"]["name"] == name


def test_an_unknown_field_is_named(kubernetes: Kubernetes, server: Server) -> None:
    """`kubectl apply` validates strictly: what is misspelt is not silently left out."""
    body = server.create("fine", spec())
    body["spec"]["tasks"]["partition"] = 4
    body["metadata"] = {"name": "fine", "namespace": NAMESPACE}
    with pytest.raises(AssertionError) as caught:
        kubernetes.kubectl("create", "--dry-run=server", "--filename=-", given=body)

    assert 'unknown field "spec.tasks.partition"' in str(caught.value)


@pytest.mark.usefixtures("server")
def test_every_field_can_be_looked_up(kubernetes: Kubernetes) -> None:
    """`kubectl explain` shows what the definition says, with the values to choose from."""
    page = eventually(lambda: kubernetes.kubectl("explain", "agentgroup.spec.tasks"))

    for words in ("onGrowth", "enum: Refuse, Reorder", "Name of the topic; empty for", "How many partitions"):
        assert words in page


def test_scaling_keeps_to_the_rules(server: Server) -> None:
    """`kubectl scale` cannot ask for more agents than partitions either."""
    assert server.scale("triage", 4)["spec"]["replicas"] == 4
    with pytest.raises(ApiException) as caught:
        server.scale("triage", 5)

    assert "workers.replicas is more than tasks.partitions" in message_of(caught)

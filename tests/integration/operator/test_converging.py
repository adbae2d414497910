"""A fleet becomes what its spec says, and stays so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from integration.operator.operators import OWNED, Operator, agent_group, config_map
from integration.servers import PROJECT, eventually

if TYPE_CHECKING:
    from integration.operator.operators import Json, Namespace

pytestmark = pytest.mark.usefixtures("operator")

SCHEMA = json.loads((PROJECT / "agent_image" / "contract" / "lane.schema.json").read_text())


def replicas(namespace: Namespace, name: str) -> int:
    return int(namespace.expect("Deployment", name)["spec"]["replicas"])


def pod_annotations(namespace: Namespace, name: str) -> dict[str, str]:
    template = namespace.expect("Deployment", name)["spec"]["template"]
    found: dict[str, str] = template["metadata"]["annotations"]
    return found


def test_an_applied_resource_gets_its_topics_and_its_agents(namespace: Namespace) -> None:
    """Topics, identity, lane file and Deployment appear, and the status names them."""
    namespace.apply(agent_group("triage", namespace.name, {"tasks": {"partitions": 6}}))
    deployment = namespace.await_deployment("triage-workers")
    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.await_condition("triage", "Accepted", "True")

    topics = {name: len(topic.partitions) for name, topic in namespace.topics().items()}
    assert topics == {
        f"{namespace.name}.triage.tasks": 6,
        f"{namespace.name}.triage.results": 4,
        f"{namespace.name}.triage.dead-letters": 4,
    }
    assert deployment["spec"]["replicas"] == 2
    owner = namespace.expect("AgentGroup", "triage")
    for kind in OWNED:
        (reference,) = namespace.expect(kind, "triage-workers")["metadata"]["ownerReferences"]
        assert reference["uid"] == owner["metadata"]["uid"]
    lane = json.loads(namespace.expect("ConfigMap", "triage-workers")["data"]["lane.json"])
    jsonschema.validate(lane, SCHEMA)
    assert lane["group"] == f"{namespace.name}.triage.workers"
    status = owner["status"]
    assert {topic["id"] for topic in status["topics"]} == {
        str(topic.topic_id) for topic in namespace.topics().values()
    }
    assert status["inbox"] == f"{namespace.name}.triage.tasks"
    assert owner["metadata"].get("finalizers", []) == []


def test_scaling_reaches_the_deployment_and_the_status(namespace: Namespace) -> None:
    """`kubectl scale` is all it takes."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_deployment("triage-workers")
    namespace.kubectl("scale", "agentgroup/triage", "--replicas=4")

    eventually(lambda: replicas(namespace, "triage-workers") == 4)
    eventually(lambda: namespace.expect("AgentGroup", "triage")["status"]["desiredReplicas"] == 4)


def test_an_edited_spec_reaches_the_lane_file_and_rolls_the_pods(namespace: Namespace) -> None:
    """The lane file's hash is in the pod template, so that a change of it starts new pods."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_deployment("triage-workers")
    before = pod_annotations(namespace, "triage-workers")["kafleet.dev/lane-hash"]
    namespace.apply(agent_group("triage", namespace.name, {"delivery": {"concurrency": 7}}))

    eventually(lambda: pod_annotations(namespace, "triage-workers")["kafleet.dev/lane-hash"] != before)
    lane = json.loads(namespace.expect("ConfigMap", "triage-workers")["data"]["lane.json"])
    assert lane["delivery"]["concurrency"] == 7


DRIFTS: dict[str, Json] = {
    "ServiceAccount": {"automountServiceAccountToken": True},
    "ConfigMap": {"data": {"lane.json": "{}"}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 0}},
    "NetworkPolicy": {"spec": {"ingress": [{}]}},
    "Deployment": {"spec": {"replicas": 0}},
}


@pytest.mark.parametrize("kind", OWNED)
def test_a_changed_object_is_repaired(namespace: Namespace, kind: str) -> None:
    """What the operator wrote is put back, whoever changed it."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_deployment("triage-workers")
    wished = namespace.expect(kind, "triage-workers")
    namespace.patch(kind, "triage-workers", DRIFTS[kind])

    def is_back() -> bool:
        seen = namespace.expect(kind, "triage-workers")
        is_newer = seen["metadata"]["resourceVersion"] != wished["metadata"]["resourceVersion"]
        return is_newer and all(seen[field] == wished[field] for field in DRIFTS[kind])

    eventually(is_back)


@pytest.mark.parametrize("kind", OWNED)
def test_a_deleted_object_is_made_again(namespace: Namespace, kind: str) -> None:
    """A new object appears, not the old one."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_deployment("triage-workers")
    before = namespace.expect(kind, "triage-workers")["metadata"]["uid"]
    namespace.kubectl("delete", kind, "triage-workers", "--wait=false")

    eventually(lambda: namespace.expect(kind, "triage-workers")["metadata"]["uid"] != before)


def test_an_object_that_lost_our_label_gets_it_back(namespace: Namespace) -> None:
    """Without the label the watch takes the object for gone; it is found again and not duplicated."""
    namespace.apply(agent_group("triage", namespace.name))
    before = namespace.await_deployment("triage-workers")["metadata"]["uid"]
    namespace.kubectl("label", "deployment/triage-workers", "app.kubernetes.io/managed-by-")

    def label() -> Any:  # noqa: ANN401 - any JSON value
        return namespace.expect("Deployment", "triage-workers")["metadata"]["labels"].get(
            "app.kubernetes.io/managed-by"
        )

    assert eventually(label) == "kafleet"
    assert namespace.expect("Deployment", "triage-workers")["metadata"]["uid"] == before


def test_drifted_topic_configuration_is_repaired(namespace: Namespace) -> None:
    """An override that somebody set is reset, one that somebody removed is set again."""
    spec = {"tasks": {"partitions": 4, "config": {"retention.ms": "1000000"}}}
    namespace.apply(agent_group("triage", namespace.name, spec))
    namespace.await_condition("triage", "TopicsReady", "True")
    topic = f"{namespace.name}.triage.tasks"
    assert namespace.overrides(topic) == {"retention.ms": "1000000"}
    namespace.override(topic, {"retention.ms": "2", "compression.type": "gzip"})

    eventually(lambda: namespace.overrides(topic) == {"retention.ms": "1000000"})


def test_a_deleted_topic_is_made_again(namespace: Namespace) -> None:
    """It is empty then, but agents can work; the status shows the new id."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_condition("triage", "TopicsReady", "True")
    topic = f"{namespace.name}.triage.results"
    before = str(namespace.topics()[topic].topic_id)
    namespace.delete_topic(topic)

    def has_new_id() -> bool:
        ids = {
            each["name"]: each["id"] for each in namespace.expect("AgentGroup", "triage")["status"]["topics"]
        }
        return ids[topic] not in {"", before} and str(namespace.topics()[topic].topic_id) == ids[topic]

    eventually(has_new_id)


def test_missing_code_is_waited_for_and_an_edit_of_it_rolls_the_pods(namespace: Namespace) -> None:
    """Nothing of ours is on the user's ConfigMap, and yet its content counts."""
    namespace.apply(agent_group("triage", namespace.name, code={"configMap": "triage-code"}))
    message = namespace.await_condition("triage", "Accepted", "False", "ReferenceNotFound")
    assert "triage-code" in message
    assert namespace.read("Deployment", "triage-workers") is None

    namespace.apply(config_map("triage-code", namespace.name, {"triage.py": "one"}))
    namespace.await_deployment("triage-workers")
    namespace.await_condition("triage", "Accepted", "True")
    before = pod_annotations(namespace, "triage-workers")["kafleet.dev/references-hash"]
    namespace.apply(config_map("triage-code", namespace.name, {"triage.py": "two"}))

    eventually(lambda: pod_annotations(namespace, "triage-workers")["kafleet.dev/references-hash"] != before)


def test_a_foreign_object_is_left_alone_and_named(namespace: Namespace) -> None:
    """The name is taken: the status says so, and by whom; once it is free the fleet goes on."""
    namespace.kubectl("create", "configmap", "triage-workers", "--from-literal=mine=yes")
    namespace.apply(agent_group("triage", namespace.name))
    message = namespace.await_condition("triage", "AgentsReady", "False", "NameConflict")
    assert "ConfigMap 'triage-workers'" in message
    assert namespace.expect("ConfigMap", "triage-workers")["data"] == {"mine": "yes"}
    namespace.kubectl("delete", "configmap", "triage-workers")

    eventually(lambda: "lane.json" in namespace.expect("ConfigMap", "triage-workers")["data"])
    namespace.await_deployment("triage-workers")


def test_a_topic_of_another_fleet_is_not_taken_over(namespace: Namespace) -> None:
    """The younger of two fleets is told who holds the topic."""
    namespace.apply(agent_group("older", namespace.name))
    namespace.await_condition("older", "TopicsReady", "True")
    topic = f"{namespace.name}.older.results"
    namespace.apply(agent_group("younger", namespace.name, {"tasks": {"topic": topic, "partitions": 8}}))

    message = namespace.await_condition("younger", "TopicsReady", "False", "TopicConflict")
    assert f"AgentGroup {namespace.name}/older" in message
    assert len(namespace.topics()[topic].partitions) == 4


def test_a_named_topic_that_exists_is_adopted_only_on_request(namespace: Namespace) -> None:
    """The annotation says that it may be."""
    topic = f"{namespace.name}.hand-made"
    namespace.create_topic(topic, 4)
    body = agent_group("triage", namespace.name, {"tasks": {"topic": topic, "partitions": 4}})
    namespace.apply(body)
    message = namespace.await_condition("triage", "TopicsReady", "False", "TopicConflict")
    assert 'kafleet.dev/adopt: "true"' in message
    namespace.kubectl("annotate", "agentgroup/triage", "kafleet.dev/adopt=true")

    namespace.await_condition("triage", "TopicsReady", "True")


def test_events_tell_each_transition_once(namespace: Namespace, operator: Operator) -> None:
    """Reconciles that change nothing post nothing."""
    namespace.apply(agent_group("triage", namespace.name, code={"configMap": "triage-code"}))
    namespace.await_condition("triage", "Accepted", "False", "ReferenceNotFound")
    namespace.await_condition("triage", "TopicsReady", "True")
    events = eventually(
        lambda: [each for each in namespace.events_about("triage") if each["reason"] == "ReferenceNotFound"]
    )

    assert len(events) == 1
    assert (events[0]["type"], events[0]["reportingController"]) == ("Warning", "kafleet.dev/operator")
    assert operator.log()  # every line of it is JSON, kopf's included

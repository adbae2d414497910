from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from unit.operator.planning.samples import FLEET, with_lane

from kafleet_operator.planning import lanefiles, manifests
from kafleet_operator.planning.fleets import Agent, Delivery, Fleet, Json

CONTRACT = Path(__file__).parents[4] / "agent_image" / "contract" / "lane.schema.json"
WITH_CODE = with_lane(
    agent=Agent(
        "triage:agent",
        image="mine:2",
        code_config_map="triage-code",
        config={"labels": ["a"]},
        env=({"name": "LEVEL", "value": "info"},),
        env_from=({"secretRef": {"name": "keys"}},),
        resources={"limits": {"memory": "128Mi"}},
    ),
    delivery=Delivery(task_timeout_seconds=0.5, drain_timeout_seconds=90),
)


def deployment(fleet: Fleet, references_hash: str | None = None) -> Json:
    return manifests.deployment_for(
        fleet,
        fleet.lanes[0],
        replicas=2,
        references_hash=references_hash,
        agent_image="agent:1",
        image_pull_policy="Never",
    )


def pod(body: Json) -> Json:
    found: Json = body["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("fleet", [FLEET, WITH_CODE])
def test_the_lane_file_is_what_agents_are_promised(fleet: Fleet) -> None:
    """It fits the contract that the agent image reads it by."""
    config_map = manifests.config_map_for(fleet, fleet.lanes[0])
    content = json.loads(config_map["data"]["lane.json"])

    jsonschema.validate(content, json.loads(CONTRACT.read_text()))
    assert content == lanefiles.lane_file_for(fleet, fleet.lanes[0])


def test_the_lane_file_names_topics_and_rules() -> None:
    """Roles become topics, seconds stay seconds."""
    content = lanefiles.lane_file_for(WITH_CODE, WITH_CODE.lanes[0])

    assert content["inputs"] == [{"role": "tasks", "topic": "support.triage.tasks"}]
    assert content["outputs"] == {"results": "support.triage.results"}
    assert content["deadLetters"] == "support.triage.dead-letters"
    assert content["sends"] == {"workers": "support.triage.tasks"}
    assert content["agent"]["codePath"] == "/etc/kafleet/code"
    assert content["delivery"]["taskTimeoutSeconds"] == 0.5


@pytest.mark.parametrize("fleet", [FLEET, WITH_CODE])
def test_pods_keep_to_the_restricted_profile(fleet: Fleet) -> None:
    """Pod Security Standards, restricted; no token, nothing writable but /tmp."""
    spec = pod(deployment(fleet))
    container = spec["containers"][0]

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/tmp"]  # noqa: S108 - a path in the container
    assert manifests.service_account_for(fleet, fleet.lanes[0])["automountServiceAccountToken"] is False


def test_everything_belongs_to_its_resource() -> None:
    """Kubernetes removes it with its owner, and nobody else controls it."""
    lane = FLEET.lanes[0]
    objects = [
        manifests.service_account_for(FLEET, lane),
        manifests.config_map_for(FLEET, lane),
        deployment(FLEET),
    ]

    for each in objects:
        (owner,) = each["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "AgentGroup",
            "triage",
            "uid-1",
            True,
        )
        assert each["metadata"]["name"] == "triage-workers"
        assert each["metadata"]["namespace"] == "support"


def test_a_selector_uses_only_labels_that_never_change() -> None:
    """A Deployment's selector is immutable, and its pods carry it."""
    body = deployment(FLEET)
    selector = body["spec"]["selector"]["matchLabels"]

    assert selector == {
        "kafleet.dev/kind": "AgentGroup",
        "kafleet.dev/resource": "triage",
        "kafleet.dev/lane": "workers",
    }
    assert selector.items() <= body["spec"]["template"]["metadata"]["labels"].items()


def test_agents_may_finish_what_they_do() -> None:
    """Kubernetes waits for one attempt, and the drain or what leaving takes, before it kills."""
    hasty = with_lane(delivery=Delivery(drain_timeout_seconds=0))

    assert pod(deployment(hasty))["terminationGracePeriodSeconds"] == 80
    assert pod(deployment(FLEET))["terminationGracePeriodSeconds"] == 90
    assert pod(deployment(WITH_CODE))["terminationGracePeriodSeconds"] == 91


def test_an_edit_of_lane_or_code_rolls_the_pods() -> None:
    """The template changes with either hash, and with nothing else."""

    def annotations(fleet: Fleet, references_hash: str | None) -> Json:
        found: Json = deployment(fleet, references_hash)["spec"]["template"]["metadata"]["annotations"]
        return found

    assert annotations(WITH_CODE, "1") == annotations(WITH_CODE, "1")
    assert annotations(WITH_CODE, "1") != annotations(WITH_CODE, "2")
    assert annotations(WITH_CODE, "1") != annotations(with_lane(agent=Agent("other:agent")), "1")
    assert "kafleet.dev/code-hash" not in annotations(FLEET, None)


def test_the_container_is_what_the_spec_says() -> None:
    """The user's image, variables, sources and limits; the operator's own variable stays first."""
    spec = pod(deployment(WITH_CODE, "1"))
    (container,) = spec["containers"]

    assert container["name"] == "agent"
    assert container["image"] == "mine:2"
    assert "imagePullPolicy" not in container
    assert [variable["name"] for variable in container["env"]] == ["KAFLEET_POD_NAME", "LEVEL"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert container["resources"] == {"limits": {"memory": "128Mi"}}
    assert {"name": "code", "configMap": {"name": "triage-code"}} in spec["volumes"]


def test_the_operators_image_comes_with_its_policy() -> None:
    """Without an image in the spec."""
    (container,) = pod(deployment(FLEET))["containers"]

    assert (container["image"], container["imagePullPolicy"]) == ("agent:1", "Never")
    assert not {"envFrom", "resources"} & container.keys()


def test_probes_ask_the_agents_port() -> None:
    """Ready and alive are different questions; a slow import is nobody's death."""
    (container,) = pod(deployment(FLEET))["containers"]

    paths = {
        name: container[name]["httpGet"]["path"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert paths == {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == {"http": 8080}

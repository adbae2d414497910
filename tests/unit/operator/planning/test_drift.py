from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from unit.operator.planning.samples import FLEET, with_lane

from kafleet_operator.planning import drift, manifests
from kafleet_operator.planning.fleets import Agent

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafleet_operator.planning.fleets import Json

AGENT = Agent(
    "triage:agent",
    env=({"name": "EMPTY", "value": ""}, {"name": "LEVEL", "value": "info"}),
    env_from=({"secretRef": {"name": "keys"}},),
    resources={"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "1000m"}},
)
FLEET_WITH_ENV = with_lane(agent=AGENT)
MANIFEST = manifests.deployment_for(
    FLEET_WITH_ENV,
    FLEET_WITH_ENV.lanes[0],
    replicas=2,
    references_hash=None,
    agent_image="agent:1",
    image_pull_policy="IfNotPresent",
)


def container(body: Json) -> Json:
    found: Json = body["spec"]["template"]["spec"]["containers"][0]
    return found


def test_what_the_api_server_adds_and_respells_is_no_drift() -> None:
    """Defaults, own spellings of quantities, left-out empty strings and other managers' fields."""
    seen: dict[str, Any] = copy.deepcopy(MANIFEST)
    del seen["apiVersion"], seen["kind"]
    seen["metadata"] |= {"uid": "1", "generation": 3}
    seen["metadata"]["labels"]["added-by"] = "somebody"
    seen["spec"]["progressDeadlineSeconds"] = 600
    container(seen)["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}}
    container(seen)["env"] = [*reversed(container(seen)["env"]), {"name": "INJECTED", "value": "1"}]
    del next(each for each in container(seen)["env"] if each["name"] == "EMPTY")["value"]

    assert drift.is_in_place(MANIFEST, seen)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["spec"].update(replicas=5),
        lambda body: body["metadata"]["annotations"].clear(),
        lambda body: body["metadata"].pop("annotations"),
        lambda body: body["metadata"]["labels"].clear(),
        lambda body: body["metadata"]["ownerReferences"].clear(),
        lambda body: container(body).update(image="other:1"),
        lambda body: container(body).update(env=[]),
        lambda body: container(body).update(envFrom=[{"secretRef": {"name": "others"}}]),
        lambda body: container(body).pop("livenessProbe"),
        lambda body: container(body)["env"][2].update(value="debug"),
        lambda body: container(body)["resources"]["limits"].update(memory="1G"),
        lambda body: container(body)["resources"]["limits"].update(cpu="1.0.0"),
        lambda body: container(body)["securityContext"]["capabilities"].update(drop=[]),
        lambda body: body["spec"]["template"]["spec"]["containers"].clear(),
    ],
)
def test_every_change_of_what_is_ours_is_drift(change: Callable[[Json], object]) -> None:
    """Whoever changes or removes a field that we set is overruled."""
    seen = copy.deepcopy(MANIFEST)
    change(seen)

    assert not drift.is_in_place(MANIFEST, seen)


@pytest.mark.parametrize(
    ("wished", "seen", "is_same"),
    [
        ({"hostNetwork": False}, {}, True),
        ({"automountServiceAccountToken": False}, {}, False),
        ({"nodeSelector": {}, "tolerations": [], "initialDelaySeconds": 0}, {}, True),
        ({"namespaceSelector": {}}, {}, False),
        (
            {"volumeMounts": [{"name": "a", "mountPath": "/1"}, {"name": "a", "mountPath": "/2"}]},
            {"volumeMounts": [{"name": "a", "mountPath": "/2"}, {"name": "a", "mountPath": "/1"}]},
            True,
        ),
    ],
)
def test_what_says_no_more_than_its_absence(wished: Json, seen: Json, is_same: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A user's template may say it, and the API server leaves it out; what means something is not it."""
    metadata = {"annotations": {"kafleet.dev/manifest-hash": "1"}}

    assert drift.is_in_place({"metadata": metadata, **wished}, {"metadata": metadata, **seen}) is is_same


def test_a_field_that_is_no_longer_wished_is_a_change() -> None:
    """A variable removed from the spec is still in the object: the hash tells."""
    wished = manifests.deployment_for(
        FLEET,
        FLEET.lanes[0],
        replicas=2,
        references_hash=None,
        agent_image="agent:1",
        image_pull_policy="IfNotPresent",
    )

    assert not drift.is_in_place(wished, MANIFEST)


def test_what_is_missing_is_not_in_place() -> None:
    """No object, no match."""
    assert not drift.is_in_place(MANIFEST, None)

"""What keeps agents from running is said in words that do not change while it lasts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kafleet_operator.planning.troubles import crashing, trouble_of

Json = dict[str, Any]
CAUSE = 'failed to pull and unpack image "x:1": not found'
ERROR = "cannot import 'triage' of handler 'triage:agent': ModuleNotFoundError: No module named 'requests'"


def pod(*containers: Json, name: str = "a", **status: Any) -> Json:  # noqa: ANN401 - as the kubelet writes it
    return {"metadata": {"name": name}, "status": {"containerStatuses": list(containers), **status}}


def waiting(reason: str, message: str = "") -> Json:
    return {"name": "agent", "image": "x:1", "state": {"waiting": {"reason": reason, "message": message}}}


def ended(message: str, **container: Any) -> Json:  # noqa: ANN401 - as the kubelet writes it
    state = {"terminated": {"exitCode": 2, "message": message}}
    return {"name": "agent", "state": {"running": {}}, "lastState": state, **container}


LOG = json.dumps({"version": 1, "group": None, "member": None, "error": ERROR})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (pod(waiting("ErrImagePull", CAUSE)), f"pod 'a' cannot pull image 'x:1': {CAUSE}"),
        (
            pod(waiting("ImagePullBackOff", f'Back-off pulling image "x:1": ErrImagePull: {CAUSE}')),
            f"pod 'a' cannot pull image 'x:1': {CAUSE}",
        ),
        (pod(waiting("ImagePullBackOff", "Back-off")), "pod 'a' cannot pull image 'x:1'"),
        (pod(waiting("ContainerCreating")), ""),
        (pod(waiting("InvalidImageName", "no such form")), "pod 'a' waits: InvalidImageName: no such form"),
        (
            pod(initContainerStatuses=[waiting("CreateContainerConfigError")]),
            "pod 'a' waits: CreateContainerConfigError",
        ),
        (pod(ended(LOG)), f"pod 'a' ended: {ERROR}"),
        (pod({"name": "agent", "state": ended(LOG)["lastState"]}), f"pod 'a' ended: {ERROR}"),
        (pod(ended(LOG, ready=True)), ""),
        (pod(ended(LOG, name="proxy")), ""),
        (pod(ended("nonsense")), ""),
        (pod(ended('["nonsense"]')), ""),
        (pod(ended("")), ""),
        (pod(ended(LOG.replace(ERROR, ""))), ""),
        (pod({"name": "agent", "state": {"running": {}}}), ""),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "no node fits"}]),
            "pod 'a' is not scheduled: no node fits",
        ),
        ({"metadata": {"name": "a"}}, ""),
    ],
)
def test_pods_in_words(found: Json, expected: str) -> None:
    """With the image, the message, the last line of a traceback."""
    assert trouble_of({}, [found]) == expected


def test_the_first_of_several_is_told() -> None:
    """Whatever the order in which they are seen; and what keeps pods from being made at all."""
    pods = [pod(waiting("A"), name="b"), pod(waiting("B"), name="a")]
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}

    assert trouble_of({}, pods) == trouble_of({}, pods[::-1]) == "pod 'a' waits: B"
    assert trouble_of({"conditions": [failure]}, pods) == "FailedCreate: quota"


def test_pods_in_a_crash_loop_are_named() -> None:
    """In order."""
    pods = [pod(waiting("CrashLoopBackOff"), name=name) for name in ("b", "a")]

    assert crashing([*pods, pod(waiting("ContainerCreating"))]) == ("a", "b")

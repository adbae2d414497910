"""A user's pod template over the generated one: merged as Kubernetes merges, and never over what is ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafleet_operator.planning.overlays import overlay, trespasses

Json = dict[str, Any]

PROBE = {"httpGet": {"path": "/healthz", "port": "http"}}
BASE: Json = {
    "metadata": {
        "labels": {"app": "x", "kafleet.dev/lane": "workers"},
        "annotations": {"kafleet.dev/h": "1"},
    },
    "spec": {
        "terminationGracePeriodSeconds": 90,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532},
        "containers": [
            {
                "name": "agent",
                "image": "agent:1",
                "env": [{"name": "KAFLEET_POD_NAME", "value": "x"}, {"name": "A", "value": "1"}],
                "ports": [{"name": "http", "containerPort": 8080}],
                "volumeMounts": [
                    {"name": "lane", "mountPath": "/etc/kafleet"},
                    {"name": "tmp", "mountPath": "/scratch"},
                ],
                "livenessProbe": PROBE,
            }
        ],
        "volumes": [{"name": "lane", "configMap": {"name": "c"}}, {"name": "tmp", "emptyDir": {}}],
    },
}


def laid(**spec: Any) -> Any:  # noqa: ANN401 - any JSON value
    return overlay(BASE, {"spec": spec})["spec"]


def agent(**container: Any) -> Any:  # noqa: ANN401 - any JSON value
    return laid(containers=[{"name": "agent", **container}])["containers"][0]


def test_a_field_is_added_changed_or_taken_away() -> None:
    """Maps are merged, at any depth."""
    assert laid(nodeSelector={"gpu": "yes"})["nodeSelector"] == {"gpu": "yes"}
    assert laid(securityContext={"runAsUser": 7})["securityContext"] == {"runAsNonRoot": True, "runAsUser": 7}
    assert laid(securityContext={"runAsUser": None})["securityContext"] == {"runAsNonRoot": True}


def test_containers_are_merged_by_name() -> None:
    """The agent keeps what the overlay does not say; others are added after it."""
    sidecar = {"name": "proxy", "image": "proxy:1"}
    first, second = laid(containers=[sidecar, {"name": "agent", "imagePullPolicy": "Always"}])["containers"]

    assert (first["image"], first["imagePullPolicy"]) == ("agent:1", "Always")
    assert second == sidecar
    assert laid(initContainers=[sidecar])["initContainers"] == [sidecar]


def test_items_of_lists_are_told_apart_as_in_kubernetes() -> None:
    """Variables and volumes by name, mounts by path, ports by number: each replaced whole."""
    value = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    assert agent(env=[value, {"name": "B", "value": "2"}])["env"][1:] == [value, {"name": "B", "value": "2"}]
    memory = {"name": "tmp", "emptyDir": {"medium": "Memory"}}
    assert laid(volumes=[memory])["volumes"] == [BASE["spec"]["volumes"][0], memory]
    cache = {"name": "tmp", "mountPath": "/cache", "subPath": "c"}
    assert len(agent(volumeMounts=[cache])["volumeMounts"]) == 3
    assert len(agent(ports=[{"containerPort": 9000}])["ports"]) == 2


def test_lists_without_identity_are_replaced() -> None:
    """Arguments, tolerations."""
    once = overlay(BASE, {"spec": {"tolerations": [{"key": "a"}]}})

    assert overlay(once, {"spec": {"tolerations": [{"key": "b"}]}})["spec"]["tolerations"] == [{"key": "b"}]
    assert agent(args=["x"])["args"] == ["x"]


FIELDS = (
    "containers",
    "volumes",
    "env",
    "volumeMounts",
    "ports",
    "name",
    "mountPath",
    "securityContext",
    "x",
)
OVERLAYS = st.recursive(
    st.sampled_from([None, True, 7, "", "agent", "lane", "/etc/kafleet"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)


def test_an_empty_overlay_changes_nothing() -> None:
    assert overlay(BASE, {}) == BASE


@given(st.dictionaries(st.sampled_from(FIELDS), OVERLAYS, max_size=3))
def test_an_overlay_laid_twice_is_laid_once(spec: Json) -> None:
    """Whatever it says; and nonsense of a user is never a failure of ours."""
    once = overlay(BASE, {"spec": spec})

    if not _has_nameless(spec):
        assert overlay(once, {"spec": spec}) == once
    trespasses(BASE, once, container="agent", folder="/etc/kafleet")


def _has_nameless(value: object, field: str = "") -> bool:
    """Tell whether an item that should have an identity has none: the API server will refuse it."""
    if isinstance(value, dict):
        return any(_has_nameless(each, name) for name, each in value.items())
    if isinstance(value, list):
        key = {"containers": "name", "volumes": "name", "env": "name"}.get(field)
        key = key or {"volumeMounts": "mountPath", "ports": "containerPort"}.get(field)
        return any(
            (key and not (isinstance(each, dict) and isinstance(each.get(key), (str, int))))
            or _has_nameless(each)
            for each in value
        )
    return False


OWNED = [
    ({"metadata": {"labels": {"app": "y"}}}, "metadata.labels[app]"),
    ({"metadata": {"labels": {"kafleet.dev/new": "y"}}}, "metadata.labels[kafleet.dev/new]"),
    ({"metadata": {"annotations": {"kafleet.dev/h": "2"}}}, "metadata.annotations[kafleet.dev/h]"),
    ({"spec": {"restartPolicy": "Never"}}, "spec.restartPolicy"),
    ({"spec": {"terminationGracePeriodSeconds": 30}}, "spec.terminationGracePeriodSeconds below 90"),
    ({"spec": {"terminationGracePeriodSeconds": None}}, "spec.terminationGracePeriodSeconds below 90"),
    ({"spec": {"volumes": [{"name": "lane", "emptyDir": {}}]}}, "spec.volumes[lane]"),
    ({"spec": {"volumes": None}}, "spec.volumes[lane]"),
]
OWNED_OF_AGENT: list[tuple[Json, str]] = [
    ({"livenessProbe": None}, "livenessProbe"),
    ({"startupProbe": PROBE}, "startupProbe"),
    ({"terminationMessagePath": "/x"}, "terminationMessagePath"),
    ({"ports": [{"containerPort": 8080, "name": "x"}]}, "ports[8080]"),
    ({"ports": [{"containerPort": 9000, "name": "http"}]}, "ports[9000]"),
    ({"env": [{"name": "KAFLEET_LANE_FILE", "value": "x"}]}, "env[KAFLEET_LANE_FILE]"),
    ({"volumeMounts": [{"name": "x", "mountPath": "/etc/kafleet"}]}, "volumeMounts[/etc/kafleet]"),
    (
        {"volumeMounts": [{"name": "x", "mountPath": "/etc/kafleet/code/"}]},
        "volumeMounts[/etc/kafleet/code/]",
    ),
]
PATH = "spec.containers[agent]"


@pytest.mark.parametrize(
    ("patch", "place"),
    [
        *OWNED,
        *(
            ({"spec": {"containers": [{"name": "agent", **each}]}}, f"{PATH}.{at}")
            for each, at in OWNED_OF_AGENT
        ),
    ],
)
def test_what_the_operator_must_own_is_named(patch: Json, place: str) -> None:
    """Each place with its path."""
    assert trespasses(BASE, overlay(BASE, patch), container="agent", folder="/etc/kafleet") == [place]


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"volumes": [{"name": ["nonsense"]}, {"name": {}}]}},
        {"metadata": {"labels": {"team": "a"}, "annotations": {"x": "y"}}},
        {"spec": {"terminationGracePeriodSeconds": 600}},
        {"spec": {"containers": [{"name": "agent", "ports": [{"containerPort": 9000}], "tty": True}]}},
        {"spec": {"containers": [{"name": "agent", "env": [{"name": "A", "value": "2"}]}]}},
        {"spec": {"containers": [{"name": "agent", "livenessProbe": PROBE}]}},
        {"spec": {"volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]}},
        {
            "spec": {
                "containers": [
                    {"name": "proxy", "volumeMounts": [{"name": "l", "mountPath": "/etc/kafleet"}]}
                ]
            }
        },
    ],
)
def test_all_else_is_the_users(patch: Json) -> None:
    """Also to say again what is there."""
    assert trespasses(BASE, overlay(BASE, patch), container="agent", folder="/etc/kafleet") == []

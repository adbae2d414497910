"""What pods take from ConfigMaps and Secrets, and what is said when some of it is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from unit.operator.planning.samples import FLEET, with_lane

from kafleet_operator.planning.connections import Connection, Password, SecretKey, Tls
from kafleet_operator.planning.fleets import Agent
from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.references import (
    Reference,
    blockers_of,
    content_hash,
    lacks_of,
    references_of,
)

if TYPE_CHECKING:
    from kafleet_operator.planning.observations import Content

DOWN = Unknown("InternalError", "no answer")
KEY = ("Secret", "keys")
WHOLE = Reference("Secret", "keys", "spec.workers.agent.envFrom[0].secretRef")
ONE = Reference("Secret", "keys", "spec.workers.agent.env[0].valueFrom.secretKeyRef", "api")


def found(**agent: Any) -> list[Reference]:  # noqa: ANN401 - any field of an agent
    return list(references_of(with_lane(agent=Agent("triage:agent", **agent))))


def test_every_place_of_a_spec_is_found() -> None:
    """Each with its path, its key, and whether it may be missing."""
    env = (
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api"}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "c", "optional": True}}},
        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    )
    env_from = ({"secretRef": {"name": "keys"}}, {"prefix": "X_", "configMapRef": {"name": "conf"}})

    path = "spec.workers.agent"
    assert found(code_config_map="code", env=env, env_from=env_from) == [
        Reference("ConfigMap", "code", f"{path}.code.configMap"),
        Reference("Secret", "keys", f"{path}.env[1].valueFrom.secretKeyRef", "api"),
        Reference("ConfigMap", "conf", f"{path}.env[2].valueFrom.configMapKeyRef", "c", is_optional=True),
        Reference("Secret", "keys", f"{path}.envFrom[0].secretRef"),
        Reference("ConfigMap", "conf", f"{path}.envFrom[1].configMapRef"),
    ]


def test_a_pod_template_is_searched() -> None:
    """Its containers and volumes, sources of projected ones too; nonsense in it refers to nothing."""
    template = {
        "spec": {
            "containers": [{"name": "proxy", "envFrom": [{"configMapRef": {"name": "proxy"}}]}],
            "initContainers": [
                {"name": "a", "env": [{"valueFrom": {"configMapKeyRef": {"name": "a", "key": "k"}}}]}
            ],
            "volumes": [
                {"name": "m", "configMap": {"name": "models", "optional": True}},
                {"name": "s", "secret": {"secretName": "tls", "items": [{"key": "tls.crt"}, {"key": 7}]}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "both"}}, {"secret": "text"}]}},
                {"name": "n", "projected": "text"},
                {"name": "o", "configMap": {"name": 7}},
                "text",
            ],
        }
    }

    path = "spec.workers.agent.podTemplate.spec"
    assert found(pod_template=template) == [
        Reference("ConfigMap", "proxy", f"{path}.containers[0].envFrom[0].configMapRef"),
        Reference("ConfigMap", "a", f"{path}.initContainers[0].env[0].valueFrom.configMapKeyRef", "k"),
        Reference("ConfigMap", "models", f"{path}.volumes[0].configMap", is_optional=True),
        Reference("Secret", "tls", f"{path}.volumes[1].secret", "tls.crt"),
        Reference("Secret", "both", f"{path}.volumes[2].projected.sources[0].secret"),
    ]


def test_the_secrets_of_a_connection_are_found() -> None:
    """They are mounted into every lane's pods, and listed once."""
    password = SecretKey("support", "kafka", "password", "spec.connection.authentication.password")
    ca = SecretKey("support", "ca", "ca.crt", "spec.connection.tls.ca")
    connection = Connection("kafka:9093", Password("SCRAM-SHA-512", "triage", password), Tls(ca))
    fleet = replace(FLEET, connection=connection, lanes=FLEET.lanes * 2)

    assert references_of(fleet) == (
        Reference("Secret", "kafka", "spec.connection.authentication.password", "password"),
        Reference("Secret", "ca", "spec.connection.tls.ca", "ca.crt"),
    )


@pytest.mark.parametrize(
    "nonsense",
    [
        "text",
        None,
        {"secretKeyRef": "text"},
        {"secretKeyRef": {"key": "api"}},
        {"secretKeyRef": {"name": "", "key": "api"}},
        {"secretKeyRef": {"name": 7, "key": "api"}},
        {"secretKeyRef": {"name": "keys", "key": ["api"]}},
    ],
)
def test_nonsense_refers_to_nothing(nonsense: object) -> None:
    """The API server refuses it with better words."""
    assert found(env=({"name": "A", "valueFrom": nonsense},)) == []
    assert found(env=("text",), env_from=("text", nonsense)) == []


@pytest.mark.parametrize(
    ("reference", "content", "expected"),
    [
        (WHOLE, {}, []),
        (ONE, {"api": "1"}, []),
        (ONE, DOWN, []),
        (WHOLE, None, [f"{WHOLE.field} names Secret 'keys', which does not exist; create it"]),
        (ONE, {"x": "1"}, [f"{ONE.field} names key 'api', which Secret 'keys' does not have; add it"]),
        (replace(ONE, is_optional=True), None, []),
        (replace(ONE, is_optional=True), {}, []),
    ],
)
def test_what_is_missing_is_said(
    reference: Reference, content: Content | Unknown | None, expected: list[str]
) -> None:
    """With the field, the object, the key and the way out; what could not be read is not missing."""
    assert lacks_of([reference], {KEY: content}) == expected


@pytest.mark.parametrize(
    ("reference", "content", "expected"),
    [
        (WHOLE, None, ["Secret 'keys'"]),
        (WHOLE, DOWN, ["Secret 'keys'"]),
        (ONE, {}, ["Secret 'keys'"]),
        (ONE, {"api": "1"}, []),
        (replace(ONE, is_optional=True), DOWN, []),
    ],
)
def test_what_pods_cannot_start_without(
    reference: Reference, content: Content | Unknown | None, expected: list[str]
) -> None:
    """Also what nobody could read, unless it may be missing; each object once."""
    assert blockers_of([reference, reference], {KEY: content}) == expected


def test_the_hash_changes_with_what_is_used_and_with_nothing_else() -> None:
    """A key that nobody asks for rolls no pod."""

    def hashed(reference: Reference, content: Content | None) -> object:
        return content_hash([reference], {KEY: content})

    optional = replace(ONE, is_optional=True)
    assert hashed(ONE, {"api": "1", "other": "1"}) == hashed(ONE, {"api": "1", "other": "2"})
    assert hashed(WHOLE, {"api": "1", "other": "1"}) != hashed(WHOLE, {"api": "1", "other": "2"})
    assert len({hashed(optional, {"api": "1"}), hashed(optional, {"api": "2"}), hashed(optional, None)}) == 3
    assert content_hash([], {}) is None
    assert content_hash([ONE], {KEY: DOWN}) == DOWN

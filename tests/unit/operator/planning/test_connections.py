"""From a spec to who a fleet is towards Kafka, and to what its agents are told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from unit.operator.api.examples import AUTHENTICATIONS
from unit.operator.planning.samples import FLEET

from kafleet_operator.api.connections import ConnectionSpec
from kafleet_operator.planning import lanefiles, manifests
from kafleet_operator.planning.connections import (
    ClientCertificate,
    ClientCredentials,
    Connection,
    Password,
    SecretKey,
    Tls,
    connection_for,
)

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Json

SCHEMA = json.loads((Path(__file__).parents[4] / "agent_image" / "contract" / "lane.schema.json").read_text())
CA = {"secret": "kafka-ca", "key": "ca.crt"}
TLS: list[Json | None] = [None, {}, {"ca": CA}]


def connection(type_: str, tls: Json | None = None) -> Connection:
    """Return what a resource of the namespace `support` asks for."""
    spec = {"authentication": {"type": type_, **AUTHENTICATIONS[type_]}, "tls": tls}
    return connection_for(
        ConnectionSpec.model_validate(spec), bootstrap_servers="kafka:9092", namespace="support"
    )


def key(name: str, *, of: str = "s") -> SecretKey:
    return SecretKey("support", of, name)


def fields_of(connection: Connection) -> list[str]:
    return [each.field for each in connection.secret_keys()]


def test_each_type_becomes_its_own_value() -> None:
    """With the Secrets' namespace, and where the spec names them."""
    scram, certificate = connection("scram-sha-512", {"ca": CA}), connection("mtls", {})
    token = connection("oauthbearer")

    assert scram == Connection(
        "kafka:9092",
        Password("SCRAM-SHA-512", "triage", key("password")),
        Tls(key("ca.crt", of="kafka-ca")),
    )
    assert fields_of(scram) == ["connection.authentication.password", "connection.tls.ca"]
    assert connection("plain").authentication == Password("PLAIN", "triage", key(".hidden"))
    assert certificate == Connection("kafka:9092", ClientCertificate(key("user.crt"), key("user.key")), Tls())
    assert fields_of(certificate) == ["connection.authentication.certificateAndKey"] * 2
    assert token.authentication == ClientCredentials(
        "https://sso.example/realms/kafka/protocol/openid-connect/token",
        "triage",
        key("clientSecret"),
        "kafka",
    )
    assert fields_of(token) == ["connection.authentication.oauthbearer.clientSecret"]
    assert connection("none") == Connection("kafka:9092")
    assert fields_of(connection("none")) == []


def test_only_sasl_is_sasl() -> None:
    """A certificate is shown to TLS."""
    assert [name for name in AUTHENTICATIONS if connection(name, {}).is_sasl] == [
        "scram-sha-512",
        "plain",
        "oauthbearer",
    ]


@pytest.mark.parametrize(
    ("type_", "tls"),
    [(type_, tls) for type_ in AUTHENTICATIONS for tls in TLS if type_ != "mtls" or tls is not None],
)
def test_agents_are_told_in_the_words_of_the_contract(type_: str, tls: Json | None) -> None:
    """Every file that the lane file names is in the pod's projected volume, and nothing else is."""
    fleet = replace(FLEET, connection=connection(type_, tls))
    content = lanefiles.lane_file_for(fleet, fleet.lanes[0])
    jsonschema.validate(content, SCHEMA)
    security = content.get("security") or {"authentication": None, "tls": None}
    named = {
        value
        for block in security.values()
        for field, value in (block or {}).items()
        if field.endswith("File") and value
    }

    deployment = manifests.deployment_for(
        fleet,
        fleet.lanes[0],
        replicas=1,
        references_hash=None,
        agent_image="agent:1",
        image_pull_policy="Never",
    )
    pod = deployment["spec"]["template"]["spec"]
    volumes = [each["projected"] for each in pod["volumes"] if each["name"] == "secrets"]
    shown = {
        f"/etc/kafleet/secrets/{item['path']}"
        for volume in volumes
        for source in volume["sources"]
        for item in source["secret"]["items"]
    }
    mounts = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "secrets"]

    assert shown == named
    assert [each["mountPath"] for each in mounts] == (["/etc/kafleet/secrets"] if named else [])
    assert all(each["readOnly"] for each in mounts)
    assert [volume["defaultMode"] for volume in volumes] == [0o440] * bool(named)
    assert ("fsGroup" in pod["securityContext"]) == bool(named)


def test_a_secret_is_mounted_once_whatever_it_is_used_for() -> None:
    """As cert-manager writes them: certificate, key and authority in one."""
    spec = ConnectionSpec.model_validate(
        {
            "authentication": {"type": "mtls", "certificateAndKey": {"secret": "triage"}},
            "tls": {"ca": {"secret": "triage", "key": "ca.crt"}},
        }
    )
    fleet = replace(
        FLEET, connection=connection_for(spec, bootstrap_servers="kafka:9093", namespace="support")
    )
    deployment = manifests.deployment_for(
        fleet,
        fleet.lanes[0],
        replicas=1,
        references_hash=None,
        agent_image="agent:1",
        image_pull_policy="Never",
    )
    (volume,) = (
        each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "secrets"
    )

    assert volume["projected"]["sources"] == [
        {
            "secret": {
                "name": "triage",
                "items": [
                    {"key": name, "path": f"triage/{name}"} for name in ("tls.crt", "tls.key", "ca.crt")
                ],
            }
        }
    ]


def test_fleets_that_need_no_secret_keep_their_lane_file() -> None:
    """An upgrade of the operator rolls nobody for nothing."""
    assert "security" not in lanefiles.lane_file_for(FLEET, FLEET.lanes[0])

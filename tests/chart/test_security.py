"""The operator's own credentials: from values and mounted Secrets to what it will be towards Kafka."""

from __future__ import annotations

import pytest
from chart.helm import REQUIRED, Helm, Json
from unit.operator.api.examples import AUTHENTICATIONS

from kafleet_operator.api.connections import ConnectionSpec
from kafleet_operator.planning.connections import Connection, connection_for
from kafleet_operator.settings import SECRETS_FOLDER, read_settings

SERVERS = "kafka.kafka.svc:9093"
CA = {"secret": "authority", "key": "ca.crt"}


def kafka(**security: object) -> Json:
    return REQUIRED | {"kafka": {"bootstrapServers": SERVERS, **security}}


def pod_of(helm: Helm, values: Json) -> Json:
    pod: Json = helm.template(values).one("Deployment")["spec"]["template"]["spec"]
    return pod


def connection_in(pod: Json) -> Connection:
    """Return what the operator makes of its environment."""
    (container,) = pod["containers"]
    return read_settings({each["name"]: each.get("value", "") for each in container["env"]}).connection


def mounted(pod: Json) -> set[str]:
    """Return the files of Secrets in the operator's container."""
    (container,) = pod["containers"]
    folders = {each["name"]: each["mountPath"] for each in container.get("volumeMounts", [])}
    return {
        f"{folders[volume['name']]}/{item['path']}"
        for volume in pod.get("volumes", [])
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }


@pytest.mark.parametrize("type_", AUTHENTICATIONS)
@pytest.mark.parametrize("tls", [{}, {"ca": CA}], ids=["system", "own"])
def test_each_type_reaches_the_operator_with_its_secrets(helm: Helm, type_: str, tls: Json) -> None:
    """What is a value in the chart is what the same words would be in a resource."""
    spec = {"authentication": {"type": type_, **AUTHENTICATIONS[type_]}, "tls": tls}
    pod = pod_of(helm, kafka(**spec))
    expected = connection_for(ConnectionSpec.model_validate(spec), bootstrap_servers=SERVERS, namespace="")

    assert connection_in(pod) == expected
    assert mounted(pod) == {f"{SECRETS_FOLDER}/{key.secret}/{key.key}" for key in expected.secret_keys()}
    modes = [volume["projected"]["defaultMode"] for volume in pod.get("volumes", [])]
    assert modes == [0o440] * bool(expected.secret_keys())


def test_certificates_have_the_names_of_cert_manager_by_default(helm: Helm) -> None:
    mtls = {"type": "mtls", "certificateAndKey": {"secret": "operator"}}

    assert mounted(pod_of(helm, kafka(authentication=mtls, tls={}))) == {
        f"{SECRETS_FOLDER}/operator/tls.crt",
        f"{SECRETS_FOLDER}/operator/tls.key",
    }


def test_without_security_nothing_is_mounted(helm: Helm) -> None:
    pod = pod_of(helm, kafka())

    assert connection_in(pod) == Connection(SERVERS)
    assert "volumes" not in pod


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"authentication": {"type": "kerberos"}}, "/kafka/authentication/type"),
        ({"authentication": {"type": "plain"}}, "/kafka/authentication"),
        ({"authentication": {"type": "none", "username": "x"}}, "/kafka/authentication"),
        ({"authentication": {"type": "mtls", **AUTHENTICATIONS["mtls"]}}, "/kafka"),
        ({"authentication": {"password": "s3cret"}}, "/kafka/authentication/password"),
        ({"tls": {"ca": {"secret": "x", "key": "../x"}}}, "/kafka/tls/ca/key"),
        ({"tls": True}, "/kafka/tls"),
    ],
)
def test_credentials_without_sense_are_refused_by_their_path(helm: Helm, wrong: Json, path: str) -> None:
    assert path in helm.refusal(kafka(**wrong))

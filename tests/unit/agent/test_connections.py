"""The lane file and the mounted Secrets become settings of Kafka's client, or it is said what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from unit.agent.samples import lane_file
from unit.agent.test_starting import lane_with, start

from kafleet.connections import librdkafka_settings
from kafleet.errors import InvalidSecret
from kafleet.lanes import parse_lane

if TYPE_CHECKING:
    from pathlib import Path

AGENT = "from kafleet import Agent\nagent = Agent()\n@agent.task\nasync def f(task: dict) -> None: ...\n"


def settings_for(authentication: dict[str, Any] | None, tls: dict[str, Any] | None) -> dict[str, object]:
    lane = {**lane_file(), "security": {"authentication": authentication, "tls": tls}}
    return librdkafka_settings(parse_lane(json.dumps(lane)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file as people write them into Secrets, with a line break at the end."""
    path = tmp_path / "password"
    path.write_text("pässword\n")
    return path


def test_without_security_nothing_is_encrypted_and_nobody_named() -> None:
    lane = parse_lane(json.dumps(lane_file()))

    assert librdkafka_settings(lane) == {
        "bootstrap.servers": "kafka:9092",
        "security.protocol": "PLAINTEXT",
    }


@pytest.mark.parametrize(
    ("type_", "mechanism"), [("scram-sha-512", "SCRAM-SHA-512"), ("plain", "PLAIN")], ids=str
)
def test_a_password_is_read_from_its_file(file: Path, type_: str, mechanism: str) -> None:
    """Without the line break that files end with."""
    user = {"type": type_, "username": "triage", "passwordFile": str(file)}

    expected = {"sasl.mechanism": mechanism, "sasl.username": "triage", "sasl.password": "pässword"}
    assert settings_for(user, {"caFile": None}).items() >= {"security.protocol": "SASL_SSL"}.items()
    assert settings_for(user, None) == {
        "bootstrap.servers": "kafka:9092",
        "security.protocol": "SASL_PLAINTEXT",
        **expected,
    }


def test_a_certificate_and_an_authority_are_handed_over_as_text(file: Path) -> None:
    certificate = {"type": "mtls", "certificateFile": str(file), "keyFile": str(file)}

    assert settings_for(certificate, {"caFile": str(file)}) == {
        "bootstrap.servers": "kafka:9092",
        "security.protocol": "SSL",
        "ssl.certificate.pem": "pässword",
        "ssl.key.pem": "pässword",
        "ssl.ca.pem": "pässword",
    }


@pytest.mark.parametrize("scope", ["", "kafka"])
def test_tokens_are_fetched_by_the_client_itself(file: Path, scope: str) -> None:
    credentials = {
        "type": "oauthbearer",
        "tokenEndpointUri": "https://sso.example/token",
        "clientId": "triage",
        "clientSecretFile": str(file),
        "scope": scope,
    }

    assert settings_for(credentials, {"caFile": None}) == {
        "bootstrap.servers": "kafka:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": "https://sso.example/token",
        "sasl.oauthbearer.client.id": "triage",
        "sasl.oauthbearer.client.secret": "pässword",
        **({"sasl.oauthbearer.scope": scope} if scope else {}),
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory; the Secret must have this key"),
        (b"", "is empty; give this key of the Secret a value"),
        (b"\r\n", "is empty; give this key of the Secret a value"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_secret_that_is_none_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InvalidSecret) as caught:
        settings_for({"type": "plain", "username": "triage", "passwordFile": str(path)}, None)
    assert repr(str(path)) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot read"), ("nonsense", "Kafka's client cannot use its settings: ")],
)
def test_an_agent_without_a_usable_secret_ends_at_once(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    """With one line, and the cause in the termination log: not by waiting for brokers for ever."""
    ca = tmp_path / "ca.crt"
    if content is not None:
        ca.write_text(content)
    security = {"authentication": None, "tls": {"caFile": str(ca)}}

    code, [line], last_words = start(tmp_path, {**lane_with(tmp_path, AGENT), "security": security})

    assert code == 2
    assert reason in line["reason"]
    assert last_words["error"] == line["reason"]

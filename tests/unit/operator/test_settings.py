"""Settings are right, or the variable that is wrong is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kafleet_operator.planning.connections import Connection, Password, SecretKey, Tls
from kafleet_operator.settings import VARIABLES, InvalidSetting, Settings, read_settings

REQUIRED = {"KAFLEET_BOOTSTRAP_SERVERS": "kafka:9092", "KAFLEET_AGENT_IMAGE": "agent:1"}


def test_two_variables_are_enough() -> None:
    """All others have a default, also when they are set to nothing."""
    expected = Settings(bootstrap_servers="kafka:9092", agent_image="agent:1")

    assert read_settings(REQUIRED) == expected
    assert read_settings({**REQUIRED, "KAFLEET_NAMESPACES": "", "KAFLEET_RESYNC_SECONDS": ""}) == expected


def test_every_variable_is_read() -> None:
    """Namespaces are separated by commas, spaces around them do not matter."""
    environment = {
        **REQUIRED,
        "KAFLEET_AGENT_IMAGE_PULL_POLICY": "Never",
        "KAFLEET_NAMESPACES": "support, sales,",
        "KAFLEET_RESYNC_SECONDS": "60",
        "KAFLEET_OBSERVE_SECONDS": "0.5",
        "KAFLEET_LOG_LEVEL": "debug",
        "KAFLEET_HTTP_PORT": "9999",
    }

    assert read_settings(environment) == Settings(
        bootstrap_servers="kafka:9092",
        agent_image="agent:1",
        agent_image_pull_policy="Never",
        namespaces=("support", "sales"),
        resync_seconds=60,
        observe_seconds=0.5,
        log_level="debug",
        http_port=9999,
    )


def test_documented_defaults_are_those_in_force() -> None:
    """What the reference says is what an operator does that is told nothing."""
    documented = {name: each.default for name, each in VARIABLES.items() if each.default != "required"}

    assert read_settings({**documented, **REQUIRED}) == read_settings(REQUIRED)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("KAFLEET_BOOTSTRAP_SERVERS", " ", "is not set"),
        ("KAFLEET_AGENT_IMAGE", "", "is not set"),
        ("KAFLEET_AGENT_IMAGE_PULL_POLICY", "never", "use one of Always, IfNotPresent, Never"),
        ("KAFLEET_LOG_LEVEL", "loud", "use one of debug, info, warning, error"),
        ("KAFLEET_RESYNC_SECONDS", "0", "use a number from 1 to 86400"),
        ("KAFLEET_OBSERVE_SECONDS", "nan", "use a number from 0.1 to 3600"),
        ("KAFLEET_OBSERVE_SECONDS", "5s", "use a number"),
        ("KAFLEET_HTTP_PORT", "70000", "use a number from 1 to 65535"),
    ],
)
def test_a_wrong_value_is_named_with_the_way_out(name: str, value: str, words: str) -> None:
    """One look at the message is enough to repair it."""
    with pytest.raises(InvalidSetting, match=f"^{name} .*{words}"):
        read_settings({**REQUIRED, name: value})


def test_the_operators_own_credentials_are_written_as_in_a_resource() -> None:
    """Their Secrets are files in its own pod, so they have no namespace."""
    settings = read_settings(
        REQUIRED
        | {
            "KAFLEET_KAFKA_AUTHENTICATION": json.dumps(
                {"type": "plain", "username": "op", "password": {"secret": "kafka", "key": "password"}}
            ),
            "KAFLEET_KAFKA_TLS": json.dumps({"ca": {"secret": "kafka", "key": "ca.crt"}}),
            "KAFLEET_SECRETS_FOLDER": "/secrets",
        }
    )

    password, ca = SecretKey("", "kafka", "password"), SecretKey("", "kafka", "ca.crt")
    assert settings.connection == Connection("kafka:9092", Password("PLAIN", "op", password), Tls(ca))
    assert [key.field for key in settings.connection.secret_keys()] == [
        "the chart's kafka.authentication.password",
        "the chart's kafka.tls.ca",
    ]
    assert settings.secrets_folder == Path("/secrets")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("KAFLEET_KAFKA_TLS", "{", "is no JSON"),
        ("KAFLEET_KAFKA_TLS", "3", "kafka.tls: input should be"),
        ("KAFLEET_KAFKA_AUTHENTICATION", '{"type": "mtls"}', "kafka.authentication: mtls needs"),
        ("KAFLEET_KAFKA_AUTHENTICATION", '{"user": "x"}', "kafka.authentication.user: this version knows no"),
    ],
)
def test_credentials_without_sense_are_refused(name: str, value: str, words: str) -> None:
    """At the start, in the words of the API."""
    with pytest.raises(InvalidSetting, match=re.escape(words)):
        read_settings(REQUIRED | {name: value})

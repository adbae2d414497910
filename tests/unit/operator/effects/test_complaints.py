"""What librdkafka 2.16 complained of at a secured Kafka 4.4, word for word, and what users read of it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest
from confluent_kafka import KafkaError

from kafleet_operator.effects.complaints import cause_of_silence
from kafleet_operator.errors import KafkaUnreachable, KafleetError, NotAuthorized
from kafleet_operator.planning.connections import ClientCertificate, Connection, Password, SecretKey, Tls

KEY = SecretKey("support", "s", "k")
CONNECTION = Connection("kafka:9093", Password("SCRAM-SHA-512", "triage", KEY), Tls())
DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
AUTHENTICATION, SSL, TRANSPORT = KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._TRANSPORT
BROKER = "sasl_ssl://127.0.0.1:58337/bootstrap"


class Case(NamedTuple):
    """A complaint, by code and text, and what becomes of it: an error, with words among others."""

    code: int
    text: str
    error: type[KafleetError]
    words: str


CASES = {
    "password": Case(
        AUTHENTICATION,
        f"{BROKER}: SASL authentication error: Authentication failed during authentication due to invalid "
        "credentials with SASL mechanism SCRAM-SHA-512 (after 398ms in state AUTH_REQ)",
        NotAuthorized,
        "refuses the operator: user 'triage': invalid credentials; check connection.authentication",
    ),
    "mechanism": Case(
        AUTHENTICATION,
        f"{BROKER}: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's "
        "supported mechanisms: SCRAM-SHA-512 (after 301ms in state AUTH_HANDSHAKE)",
        NotAuthorized,
        "not enabled (SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's "
        "supported mechanisms: SCRAM-SHA-512); check connection.authentication.type",
    ),
    "a port without authentication": Case(
        AUTHENTICATION,
        f"{BROKER}: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Request not valid in current SASL "
        "state: broker's supported mechanisms:  (after 1ms in state AUTH_HANDSHAKE)",
        NotAuthorized,
        "this port takes no authentication; remove connection.authentication",
    ),
    "authority": Case(
        SSL,
        f"{BROKER}: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker "
        "certificate could not be verified, verify that ssl.ca.location is correctly configured or root CA "
        "certificates are installed (install ca-certificates package) (after 10ms in state SSL_HANDSHAKE)",
        NotAuthorized,
        "certificate is not to be trusted; check that connection.tls.ca signed it",
    ),
    "no client certificate": Case(
        TRANSPORT,
        f"{BROKER}: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert "
        "number 42 (after 1ms in state APIVERSION_QUERY)",
        NotAuthorized,
        "the brokers want a client certificate; set connection.authentication of type mtls",
    ),
    "an expired client certificate": Case(
        TRANSPORT,
        f"{BROKER}: Receive failed: error:0A000416:SSL routines::ssl/tls alert certificate unknown: SSL "
        "alert number 46 (after 13ms in state APIVERSION_QUERY)",
        NotAuthorized,
        "the brokers do not accept the client certificate; check that it is still good",
    ),
    "TLS to a port without": Case(
        TRANSPORT,
        f"{BROKER}: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a "
        "PLAINTEXT broker listener? (after 6ms in state SSL_HANDSHAKE)",
        KafkaUnreachable,
        "does not speak TLS; remove connection.tls, or name the port that does",
    ),
    "something new": Case(
        AUTHENTICATION,
        "sasl_ssl://127.0.0.1:58337/1: Whatever comes next (after 5ms in state AUTH_REQ)",
        NotAuthorized,
        "refuses the operator: Whatever comes next; check connection.authentication and connection.tls",
    ),
    "nobody there": Case(
        TRANSPORT,
        "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state "
        "CONNECT)",
        KafkaUnreachable,
        "no broker at 'kafka:9093' answers; check connection.bootstrapServers and that Kafka runs",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_complaint_has_a_cause_and_a_way_out(name: str) -> None:
    """Whatever else was complained of, and without the times that differ."""
    case = CASES[name]
    cause = cause_of_silence([DOWN, KafkaError(case.code, case.text), DOWN], CONNECTION)

    assert type(cause) is case.error
    assert "'kafka:9093'" in str(cause)
    assert case.words in str(cause)
    assert "ms in state" not in str(cause)
    assert "58337" not in str(cause)


def test_silence_without_a_word_may_be_tls() -> None:
    """A broker that wants TLS ends other connections, and the client keeps that for itself."""
    plaintext = Connection("kafka:9093", path="the chart's kafka")

    assert str(cause_of_silence([DOWN], plaintext)) == (
        "Kafka at 'kafka:9093' ends connections at once; it may want TLS or another type of authentication, "
        "check the chart's kafka.tls and the chart's kafka.authentication"
    )
    assert "no broker" in str(cause_of_silence([], plaintext))


def test_a_broker_that_stops_in_a_handshake_is_not_without_tls() -> None:
    """It is away at the next attempt."""
    complaints = [
        KafkaError(CASES[name].code, CASES[name].text) for name in ("TLS to a port without", "nobody there")
    ]

    assert "no broker" in str(cause_of_silence(complaints, CONNECTION))


@pytest.mark.parametrize(
    ("authentication", "who"),
    [(ClientCertificate(KEY, KEY), "the client certificate"), (None, "the client")],
)
def test_who_is_refused_is_named(authentication: ClientCertificate | None, who: str) -> None:
    """Though never by a secret."""
    connection = replace(CONNECTION, authentication=authentication)
    cause: KafleetError = cause_of_silence([KafkaError(AUTHENTICATION, CASES["password"].text)], connection)

    assert f"{who}: invalid credentials" in str(cause)

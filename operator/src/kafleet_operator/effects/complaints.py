"""What librdkafka's complaints mean.

A call that reaches nobody only times out; why comes by a callback, in librdkafka's words, with addresses and
times that would make each message another one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError

from kafleet_operator.errors import KafkaUnreachable, NotAuthorized
from kafleet_operator.planning.connections import ClientCertificate, Password

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafleet_operator.planning.connections import Connection

# What is part of a complaint, and what it means, with the fields of the connection that are to be looked at.
REFUSALS: Final = {
    r"certificate verify failed": "the brokers' certificate is not to be trusted; check that {path}.tls.ca "
    "signed it, that it is still good, and that it has the name of the host",
    r"alert (bad certificate|certificate required)": "the brokers want a client certificate; set "
    "{path}.authentication of type mtls, or name the port of another listener",
    r"alert (certificate|unknown ca|unsupported certificate)": "the brokers do not accept the client "
    "certificate; check that it is still good, and that they trust who signed it "
    "({path}.authentication.certificateAndKey)",
    r"invalid credentials": "{who}: invalid credentials; check {path}.authentication",
    r"Unsupported SASL mechanism": "this type of authentication is not enabled ({detail}); check "
    "{path}.authentication.type",
    r"not valid in current SASL state": "this port takes no authentication; remove {path}.authentication, or "
    "name the port that does",
}
NO_TLS: Final = re.compile(r"PLAINTEXT broker listener")
ABSENT: Final = re.compile(r"Connect to .* failed")
# The address a complaint begins with, and the time that it ends with.
NOISE: Final = re.compile(r"^\S+/(?:bootstrap|\d+): | \(after \d+ms in state \w+.*\)$")

REFUSED: Final = {
    KafkaError._AUTHENTICATION,  # noqa: SLF001  the client's own errors are public
    KafkaError._SSL,  # noqa: SLF001  likewise
    KafkaError.SASL_AUTHENTICATION_FAILED,
}


def cause_of_silence(
    complaints: Iterable[KafkaError], connection: Connection
) -> KafkaUnreachable | NotAuthorized:
    """Return why no broker answers, in the same words each time, with the way out."""
    heard = list(complaints)
    servers, path = connection.bootstrap_servers, connection.path
    for complaint in heard:
        refusal = _refusal(complaint, connection)
        if refusal:
            return NotAuthorized(f"Kafka at {servers!r} refuses the operator: {refusal}")
    texts = [complaint.str() for complaint in heard]
    # A broker that is being stopped ends connections in the midst of a handshake, too.
    if any(map(NO_TLS.search, texts)) and not any(map(ABSENT.search, texts)):
        return KafkaUnreachable(
            f"Kafka at {servers!r} does not speak TLS; remove {path}.tls, or name the port that does"
        )
    # A broker that wants TLS ends a connection without it, and librdkafka keeps that for itself.
    if heard and all(each.code() == KafkaError._ALL_BROKERS_DOWN for each in heard):  # noqa: SLF001  public
        return KafkaUnreachable(
            f"Kafka at {servers!r} ends connections at once; it may want TLS or another type of "
            f"authentication, check {path}.tls and {path}.authentication"
        )
    return KafkaUnreachable(
        f"no broker at {servers!r} answers; check {path}.bootstrapServers and that Kafka runs"
    )


def _refusal(complaint: KafkaError, connection: Connection) -> str | None:
    text = complaint.str()
    detail = NOISE.sub("", text)
    for pattern, words in REFUSALS.items():
        if re.search(pattern, text):
            return words.format(path=connection.path, detail=detail, who=_who(connection))
    if complaint.code() in REFUSED:
        return f"{detail}; check {connection.path}.authentication and {connection.path}.tls"
    return None


def _who(connection: Connection) -> str:
    match connection.authentication:
        case Password(username=username):
            return f"user {username!r}"
        case ClientCertificate():
            return "the client certificate"
    return "the client"

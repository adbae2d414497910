"""How a fleet reaches Kafka: addresses, and which Secrets prove who it is; never what is in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of a Secret; `field` is where the spec names it, for messages."""

    namespace: str
    secret: str
    key: str
    field: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Password:
    """A user name and a password, by SASL."""

    mechanism: Literal["SCRAM-SHA-512", "PLAIN"]
    username: str
    password: SecretKey


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate and its private key, both PEM, shown while TLS begins."""

    certificate: SecretKey
    key: SecretKey


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """OAuth 2.0 client credentials, for which an OpenID Connect provider gives tokens; SASL OAUTHBEARER."""

    token_endpoint: str
    client_id: str
    client_secret: SecretKey
    scope: str = ""


Authentication = Password | ClientCertificate | ClientCredentials


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS, trusting one certificate authority (PEM), or those of the system where `ca` is None."""

    ca: SecretKey | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the brokers are, who one is towards them, and whether the line is encrypted."""

    bootstrap_servers: str
    authentication: Authentication | None = None
    tls: Tls | None = None

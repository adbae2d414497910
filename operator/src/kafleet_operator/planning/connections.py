"""How a fleet reaches Kafka: addresses, and which Secrets prove who it is; never what is in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kafleet_operator.api.connections import (
        AuthenticationSpec,
        ConnectionSpec,
        OAuthBearerSpec,
        SecretKeySpec,
    )


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of a Secret; `field` is where the spec names it, for messages.

    The namespace is empty for Secrets that are mounted into the operator's own pod.
    """

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
    """Where the brokers are, who one is towards them, and whether the line is encrypted.

    `path` is what messages call it.
    """

    bootstrap_servers: str
    authentication: Authentication | None = None
    tls: Tls | None = None
    path: str = field(default="connection", compare=False)

    @property
    def is_sasl(self) -> bool:
        """Whether SASL says who one is, not TLS or nobody."""
        return isinstance(self.authentication, Password | ClientCredentials)

    def secret_keys(self) -> tuple[SecretKey, ...]:
        """Return every key of a Secret that the connection needs, in the order of the spec."""
        keys: list[SecretKey] = []
        match self.authentication:
            case Password(password=password):
                keys = [password]
            case ClientCertificate(certificate, key):
                keys = [certificate, key]
            case ClientCredentials(client_secret=client_secret):
                keys = [client_secret]
        if self.tls and self.tls.ca:
            keys.append(self.tls.ca)
        return tuple(keys)


def connection_for(
    spec: ConnectionSpec, *, bootstrap_servers: str, namespace: str, path: str = "connection"
) -> Connection:
    """Return the connection that a spec asks for.

    `bootstrap_servers` are those of an installation, for a spec that names none.
    """
    ca = spec.tls.ca if spec.tls else None
    return Connection(
        bootstrap_servers=spec.bootstrap_servers or bootstrap_servers,
        authentication=_authentication(spec.authentication, namespace, f"{path}.authentication"),
        tls=Tls(_secret_key(ca, namespace, f"{path}.tls.ca") if ca else None) if spec.tls else None,
        path=path,
    )


def _authentication(spec: AuthenticationSpec, namespace: str, path: str) -> Authentication | None:
    if spec.username is not None and spec.password is not None:
        return Password(
            mechanism="SCRAM-SHA-512" if spec.type == "scram-sha-512" else "PLAIN",
            username=spec.username,
            password=_secret_key(spec.password, namespace, f"{path}.password"),
        )
    if spec.certificate_and_key is not None:
        pair, field_path = spec.certificate_and_key, f"{path}.certificateAndKey"
        return ClientCertificate(
            certificate=SecretKey(namespace, pair.secret, pair.certificate, field_path),
            key=SecretKey(namespace, pair.secret, pair.key, field_path),
        )
    return _client_credentials(spec.oauthbearer, namespace, f"{path}.oauthbearer")


def _client_credentials(spec: OAuthBearerSpec | None, namespace: str, path: str) -> ClientCredentials | None:
    if spec is None:
        return None
    return ClientCredentials(
        token_endpoint=spec.token_endpoint_uri,
        client_id=spec.client_id,
        client_secret=_secret_key(spec.client_secret, namespace, f"{path}.clientSecret"),
        scope=spec.scope,
    )


def _secret_key(spec: SecretKeySpec, namespace: str, path: str) -> SecretKey:
    return SecretKey(namespace, spec.secret, spec.key, path)

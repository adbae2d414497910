"""How to reach Kafka: shared by every kind, and by the operator's own settings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from kafleet_operator.api.blocks import Block, DataKey, ObjectName, Text, rule, rules

# Nobody needs a line break in these, and some formats that they end up in give it a meaning.
Line = Annotated[str, Text(r"[^\r\n]+", "neither empty nor more than one line; write it in one", 1024)]
_PORT = "([1-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_BROKER = rf"[^\s,:]+:{_PORT}"

USER_MISSING = "scram-sha-512 and plain need username and password; set both"
USER_UNUSED = "username and password go with type scram-sha-512 or plain only; set that type, or remove them"
CERTIFICATE_MISSING = "mtls needs certificateAndKey; set it"
CERTIFICATE_UNUSED = "certificateAndKey goes with type mtls only; set that type, or remove it"
OAUTH_MISSING = (
    "oauthbearer needs a block of that name, with tokenEndpointUri, clientId and clientSecret; set it"
)
OAUTH_UNUSED = "the block oauthbearer goes with type oauthbearer only; set that type, or remove it"
TLS_MISSING = "authentication mtls needs tls; set tls: {} for the system's certificate authorities, or tls.ca"


class SecretKeySpec(Block):
    """One key of a Secret of the same namespace."""

    secret: ObjectName = Field(description="Name of the Secret")
    key: DataKey = Field(description="Key in the Secret")


class CertificateAndKeySpec(Block):
    """A client certificate with its private key, as cert-manager and kubernetes.io/tls Secrets have them."""

    secret: ObjectName = Field(description="Name of the Secret")
    certificate: DataKey = Field(default="tls.crt", description="Key of the certificate chain, PEM")
    key: DataKey = Field(default="tls.key", description="Key of the private key, PEM without a passphrase")


class OAuthBearerSpec(Block):
    """OAuth 2.0 client credentials; the token endpoint is an OpenID Connect provider's."""

    token_endpoint_uri: Annotated[
        str, Text(r"https?://\S+", "not an address; write it like https://id.example/token", 2048)
    ] = Field(description="Where tokens are given out, as https://…")
    client_id: Line = Field(description="Who asks for a token")
    client_secret: SecretKeySpec = Field(description="What proves it, in a Secret of this namespace")
    scope: Annotated[str, Text(r"[^\r\n]*", "more than one line; write it in one", 1024)] = Field(
        default="", description="Scope to ask for; empty for the provider's default"
    )


class AuthenticationSpec(Block):
    """Who one is towards the brokers. Each type needs the fields that belong to it, and no others."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(self.type in ['scram-sha-512', 'plain']) || has(self.username) && has(self.password)",
                USER_MISSING,
            ),
            rule(
                "self.type in ['scram-sha-512', 'plain'] || !has(self.username) && !has(self.password)",
                USER_UNUSED,
            ),
            rule("self.type != 'mtls' || has(self.certificateAndKey)", CERTIFICATE_MISSING),
            rule("self.type == 'mtls' || !has(self.certificateAndKey)", CERTIFICATE_UNUSED),
            rule("self.type != 'oauthbearer' || has(self.oauthbearer)", OAUTH_MISSING),
            rule("self.type == 'oauthbearer' || !has(self.oauthbearer)", OAUTH_UNUSED),
        )
    )

    type: Literal["none", "scram-sha-512", "plain", "mtls", "oauthbearer"] = Field(
        default="none", description="How to prove it: none, scram-sha-512, plain, mtls or oauthbearer"
    )
    username: Line | None = Field(default=None, description="User, for scram-sha-512 and plain")
    password: SecretKeySpec | None = Field(
        default=None, description="Its password, in a Secret of this namespace, for scram-sha-512 and plain"
    )
    certificate_and_key: CertificateAndKeySpec | None = Field(
        default=None, description="Client certificate, in a Secret of this namespace, for mtls"
    )
    oauthbearer: OAuthBearerSpec | None = Field(default=None, description="Where tokens come from")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        has_password = self.username is not None or self.password is not None
        needs = {
            USER_MISSING: self._uses_password and (self.username is None or self.password is None),
            USER_UNUSED: not self._uses_password and has_password,
            CERTIFICATE_MISSING: self.type == "mtls" and self.certificate_and_key is None,
            CERTIFICATE_UNUSED: self.type != "mtls" and self.certificate_and_key is not None,
            OAUTH_MISSING: self.type == "oauthbearer" and self.oauthbearer is None,
            OAUTH_UNUSED: self.type != "oauthbearer" and self.oauthbearer is not None,
        }
        for message, is_broken in needs.items():
            if is_broken:
                raise ValueError(message)
        return self

    @property
    def _uses_password(self) -> bool:
        return self.type in {"scram-sha-512", "plain"}


class TlsSpec(Block):
    """An encrypted connection to brokers that prove who they are."""

    ca: SecretKeySpec | None = Field(
        default=None,
        description="Certificate authority of the brokers, PEM, in a Secret of this namespace; "
        "left out: those that the image trusts",
    )


class ConnectionSpec(Block):
    """How the fleet reaches Kafka."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("self.authentication.type != 'mtls' || has(self.tls)", TLS_MISSING))
    )

    bootstrap_servers: Annotated[
        str,
        Text(rf"({_BROKER}(,{_BROKER})*)?", "not brokers; write host:port,host:port, like kafka:9092", 2048),
    ] = Field(
        default="",
        description="Brokers to begin with, as host:port,host:port; empty for those of the installation",
    )
    authentication: AuthenticationSpec = Field(
        default={},
        validate_default=True,
        description="Who the agents are towards the brokers; they never get the operator's own credentials",
    )
    tls: TlsSpec | None = Field(
        default=None, description="Encrypt the connection; {} trusts the certificate authorities of the image"
    )

    @model_validator(mode="after")
    def _is_encrypted_for_certificates(self) -> Self:
        if self.authentication.type == "mtls" and self.tls is None:
            raise ValueError(TLS_MISSING)
        return self

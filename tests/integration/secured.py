"""A broker that trusts nobody: SCRAM and mutual TLS, the standard authorizer, certificates of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certificates import Authority
from integration.servers import Broker
from openid import AUDIENCE, ISSUER, Provider
from principals import Principals

if TYPE_CHECKING:
    from pathlib import Path


OAUTHBEARER = "org.apache.kafka.common.security.oauthbearer"


class SecuredBroker(Broker, Principals):
    """Listeners `SCRAM`, `TOKENS` (both SASL_SSL) and `MTLS`; `PLAINTEXT` is the test's, who may do anything.

    A client certificate's common name is the principal. What no ACL allows is forbidden.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        pair = self.authority.issue("broker")
        self.provider = Provider()
        keys, trust, tokens = folder / "broker.pem", folder / "ca.pem", folder / "jwks.json"
        tokens.write_text(self.provider.keys())
        keys.write_text(pair.key + pair.certificate)
        trust.write_text(self.authority.certificate)
        super().__init__(
            folder,
            {"SCRAM": "SASL_SSL", "MTLS": "SSL", "TOKENS": "SASL_SSL"},
            {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": keys,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": trust,
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.scram.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                "listener.name.tokens.sasl.enabled.mechanisms": "OAUTHBEARER",
                **{
                    f"listener.name.tokens.oauthbearer.sasl.{name}": value
                    for name, value in {
                        "jaas.config": f"{OAUTHBEARER}.OAuthBearerLoginModule required;",
                        "server.callback.handler.class": f"{OAUTHBEARER}.OAuthBearerValidatorCallbackHandler",
                        "oauthbearer.jwks.endpoint.url": tokens.as_uri(),
                        "oauthbearer.expected.audience": AUDIENCE,
                        "oauthbearer.expected.issuer": ISSUER,
                    }.items()
                },
                "listener.name.mtls.ssl.client.auth": "required",
                "listener.name.mtls.ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "allow.everyone.if.no.acl.found": "false",
                "connection.failed.authentication.delay.ms": 10,
            },
            [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.as_uri()}"],
        )

    @property
    def scram(self) -> str:
        return self.addresses["SCRAM"]

    @property
    def mtls(self) -> str:
        return self.addresses["MTLS"]

    @property
    def tokens(self) -> str:
        return self.addresses["TOKENS"]

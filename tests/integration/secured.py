"""A broker that trusts nobody: SCRAM and mutual TLS, the standard authorizer, certificates of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certificates import Authority
from integration.servers import Broker
from principals import Principals

if TYPE_CHECKING:
    from pathlib import Path


class SecuredBroker(Broker, Principals):
    """Listeners `SCRAM` (SASL_SSL) and `MTLS` for everybody, `PLAINTEXT` for the test, who may do anything.

    A client certificate's common name is the principal. What no ACL allows is forbidden.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        pair = self.authority.issue("broker")
        keys, trust = folder / "broker.pem", folder / "ca.pem"
        keys.write_text(pair.key + pair.certificate)
        trust.write_text(self.authority.certificate)
        super().__init__(
            folder,
            {"SCRAM": "SASL_SSL", "MTLS": "SSL"},
            {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": keys,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": trust,
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.scram.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                "listener.name.mtls.ssl.client.auth": "required",
                "listener.name.mtls.ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "allow.everyone.if.no.acl.found": "false",
                "connection.failed.authentication.delay.ms": 10,
            },
        )

    @property
    def scram(self) -> str:
        return self.addresses["SCRAM"]

    @property
    def mtls(self) -> str:
        return self.addresses["MTLS"]

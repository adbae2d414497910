"""A broker that trusts nobody: SCRAM and mutual TLS, the standard authorizer, certificates of its own."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from integration.servers import Broker

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: str
    key: str


class Authority:
    """A certificate authority that lives as long as the test run."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = _builder(self._name, self._name, self._key.public_key(), DAY)
        certificate = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = _pem(certificate)

    def issue(self, name: str, *, life: dt.timedelta = DAY) -> Pair:
        """Return a certificate for that common name, good for 127.0.0.1; with a negative life, expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = _builder(subject, self._name, key.public_key(), life)
        certificate = builder.add_extension(address, critical=False).sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(_pem(certificate), private.decode())


class SecuredBroker(Broker):
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

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def set_password(self, user: str, password: str) -> None:
        """Make a SCRAM user, or give it another password."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        admin = self.admin()
        changed = admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user, info, password.encode())]
        )
        changed[user].result(10)

    def drop_user(self, user: str) -> None:
        admin = self.admin()
        deletion = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
        admin.alter_user_scram_credentials([deletion])[user].result(10)

    def allow(self, *grants: AclBinding) -> None:
        admin = self.admin()
        for created in admin.create_acls(list(grants)).values():
            created.result(10)

    def forbid(self, grant: AclBinding) -> None:
        """Take an ACL away."""
        admin = self.admin()
        wanted = AclBindingFilter(
            grant.restype,
            grant.name,
            grant.resource_pattern_type,
            grant.principal,
            grant.host,
            grant.operation,
            grant.permission_type,
        )
        (deleted,) = admin.delete_acls([wanted]).values()
        assert deleted.result(10)


def grant(user: str, kind: str, name: str, operation: str) -> AclBinding:
    """Return an ACL, as a row of the table in docs/operations.md: `name` with a trailing * is a prefix."""
    is_prefix = name.endswith("*")
    return AclBinding(
        ResourceType.BROKER if kind == "cluster" else ResourceType[kind.upper()],
        "kafka-cluster" if kind == "cluster" else name.removesuffix("*"),
        ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[operation.upper()],
        AclPermissionType.ALLOW,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + life)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()

"""How Kafka's client is told to reach the brokers: by the lane file, and by Secrets mounted as files.

Secrets are read once, at start, and stay in memory: a Secret that changes rolls the pods.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kafleet.errors import InvalidSecret
from kafleet.lanes import ClientCertificate, ClientCredentials, Password

if TYPE_CHECKING:
    from kafleet.lanes import Authentication, Lane, Tls


def librdkafka_settings(lane: Lane) -> dict[str, object]:
    """Return what all clients of this process share; InvalidSecret names a file and what it lacks."""
    security = lane.security
    is_sasl = isinstance(security.authentication, Password | ClientCredentials)
    protocol = ("SASL_" if is_sasl else "") + ("SSL" if security.tls else "PLAINTEXT")
    return {
        "bootstrap.servers": lane.bootstrap_servers,
        "security.protocol": protocol,
        **_of_authentication(security.authentication),
        **_of_tls(security.tls),
    }


def _of_authentication(authentication: Authentication | None) -> dict[str, object]:
    match authentication:
        case Password():
            return {
                "sasl.mechanism": "SCRAM-SHA-512" if authentication.type == "scram-sha-512" else "PLAIN",
                "sasl.username": authentication.username,
                "sasl.password": _secret(authentication.password_file),
            }
        case ClientCertificate():
            return {
                "ssl.certificate.pem": _secret(authentication.certificate_file),
                "ssl.key.pem": _secret(authentication.key_file),
            }
        case ClientCredentials():
            settings: dict[str, object] = {
                "sasl.mechanism": "OAUTHBEARER",
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.token.endpoint.url": authentication.token_endpoint_uri,
                "sasl.oauthbearer.client.id": authentication.client_id,
                "sasl.oauthbearer.client.secret": _secret(authentication.client_secret_file),
            }
            return settings | (
                {"sasl.oauthbearer.scope": authentication.scope} if authentication.scope else {}
            )
    return {}


def _of_tls(tls: Tls | None) -> dict[str, object]:
    # Without a certificate authority of its own, librdkafka trusts those of the image.
    return {"ssl.ca.pem": _secret(tls.ca_file)} if tls and tls.ca_file else {}


def _secret(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidSecret(
            f"cannot read {path!r}: {error.strerror}; the Secret must have this key"
        ) from None
    except UnicodeDecodeError:
        raise InvalidSecret(f"{path!r} is not UTF-8; put the text itself into the Secret") from None
    # Files that people write end with a line break, and no password does.
    if not text.rstrip("\r\n"):
        raise InvalidSecret(f"{path!r} is empty; give this key of the Secret a value")
    return text.rstrip("\r\n")

"""One connection in the words of both clients: librdkafka's and kafka-python's.

Secrets go in as values and stay in memory: no file, no log and no error has them.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any

from kafleet_operator.effects.tokens import TokenProvider
from kafleet_operator.errors import NotAuthorized
from kafleet_operator.planning.connections import ClientCertificate, ClientCredentials, Password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet_operator.planning.connections import Connection, SecretKey

    Values = Mapping[SecretKey, str]


def librdkafka_settings(connection: Connection, values: Values) -> dict[str, str]:
    """Return librdkafka's settings; `values` has every one of `connection.secret_keys()`."""
    settings = {
        "bootstrap.servers": connection.bootstrap_servers,
        "security.protocol": _protocol(connection),
    }
    match connection.authentication:
        case Password(mechanism, username, password):
            settings |= {
                "sasl.mechanism": mechanism,
                "sasl.username": username,
                "sasl.password": values[password],
            }
        case ClientCertificate(certificate, key):
            settings |= {"ssl.certificate.pem": values[certificate], "ssl.key.pem": values[key]}
        case ClientCredentials(token_endpoint, client_id, client_secret, scope):
            settings |= {
                "sasl.mechanism": "OAUTHBEARER",
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.token.endpoint.url": token_endpoint,
                "sasl.oauthbearer.client.id": client_id,
                "sasl.oauthbearer.client.secret": values[client_secret],
                **({"sasl.oauthbearer.scope": scope} if scope else {}),
            }
    # Without an authority of its own, librdkafka trusts those of the image.
    if connection.tls and connection.tls.ca:
        settings["ssl.ca.pem"] = values[connection.tls.ca]
    return settings


def kafka_python_settings(connection: Connection, values: Values) -> dict[str, Any]:
    """Return kafka-python's settings but the addresses; NotAuthorized if certificates are none."""
    settings: dict[str, Any] = {"security_protocol": _protocol(connection)}
    match connection.authentication:
        case Password(mechanism, username, password):
            settings |= {
                "sasl_mechanism": mechanism,
                "sasl_plain_username": username,
                "sasl_plain_password": values[password],
            }
        case ClientCredentials(client_secret=client_secret) as credentials:
            settings |= {
                "sasl_mechanism": "OAUTHBEARER",
                "sasl_oauth_token_provider": TokenProvider(credentials, values[client_secret]),
            }
    if connection.tls:
        settings["ssl_context"] = _tls_context(connection, values)
    return settings


def _protocol(connection: Connection) -> str:
    return ("SASL_" if connection.is_sasl else "") + ("SSL" if connection.tls else "PLAINTEXT")


class _Socket(ssl.SSLSocket):
    """Ends with a handshake that fails; kafka-python leaves such a socket to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as in SSLSocket
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except BaseException:
            self.close()
            raise


def _tls_context(connection: Connection, values: Values) -> ssl.SSLContext:
    """Return what trusts and shows the connection's certificates."""
    ca = connection.tls.ca if connection.tls else None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.sslsocket_class = _Socket
        if ca:
            context.load_verify_locations(cadata=values[ca])
        else:
            context.load_default_certs()
        if isinstance(connection.authentication, ClientCertificate):
            pair = connection.authentication
            _show(context, values[pair.certificate] + "\n" + values[pair.key])
    except (ssl.SSLError, ValueError) as error:
        raise NotAuthorized(
            f"the certificates of {connection.path} cannot be used: {error}; check the Secrets that it names"
        ) from None
    return context


def _show(context: ssl.SSLContext, pem: str) -> None:
    """Load a certificate and its key, which Python's ssl only takes from a file: one that is in memory."""
    file = os.memfd_create("certificate")
    try:
        os.write(file, pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)

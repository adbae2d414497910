"""Connections that are not fine."""

from __future__ import annotations

from unit.operator.api.examples import AUTHENTICATIONS, Refused, spec

CONNECTIONS: dict[str, Refused] = {
    "an unknown authentication": Refused(
        spec(connection={"authentication": {"type": "kerberos"}}),
        "Unsupported value",
        "spec.connection.authentication.type: input should be",
    ),
    **{
        f"{type_} without what it needs": Refused(
            spec(connection={"authentication": {"type": type_}, "tls": {}}),
            message,
            f"spec.connection.authentication: {message}",
        )
        for type_, message in {
            "scram-sha-512": "scram-sha-512 and plain need username and password; set both",
            "plain": "scram-sha-512 and plain need username and password; set both",
            "mtls": "mtls needs certificateAndKey; set it",
            "oauthbearer": "oauthbearer needs a block of that name, with tokenEndpointUri, clientId and "
            "clientSecret; set it",
        }.items()
    },
    **{
        f"what {type_} needs, with another type": Refused(
            spec(connection={"authentication": AUTHENTICATIONS[type_]}),
            message,
            f"spec.connection.authentication: {message}",
        )
        for type_, message in {
            "plain": "username and password go with type scram-sha-512 or plain only",
            "mtls": "certificateAndKey goes with type mtls only",
            "oauthbearer": "the block oauthbearer goes with type oauthbearer only",
        }.items()
    },
    "a user without a password": Refused(
        spec(connection={"authentication": {"type": "scram-sha-512", "username": "x"}}),
        "scram-sha-512 and plain need username and password; set both",
        "spec.connection.authentication: scram-sha-512 and plain need username and password",
    ),
    "a client certificate without TLS": Refused(
        spec(connection={"authentication": {"type": "mtls", **AUTHENTICATIONS["mtls"]}}),
        "authentication mtls needs tls; set tls: {}",
        "spec.connection: authentication mtls needs tls; set tls: {}",
    ),
    "a token endpoint that is no address": Refused(
        spec(
            connection={
                "authentication": {
                    "type": "oauthbearer",
                    "oauthbearer": {
                        **AUTHENTICATIONS["oauthbearer"]["oauthbearer"],
                        "tokenEndpointUri": "sso.example",
                    },
                }
            }
        ),
        "not an address; write it like https://id.example/token",
        "spec.connection.authentication.oauthbearer.tokenEndpointUri: not an address",
    ),
    "a key that leads out of its Secret": Refused(
        spec(connection={"tls": {"ca": {"secret": "s", "key": "../ca.crt"}}}),
        "not a key; write it in letters",
        "spec.connection.tls.ca.key: not a key",
    ),
    "a key without a name": Refused(
        spec(connection={"tls": {"ca": {"secret": "s", "key": ".."}}}),
        "not a key; write it in letters",
        "spec.connection.tls.ca.key: not a key",
    ),
    "a user of two lines": Refused(
        spec(
            connection={"authentication": {"type": "plain", **AUTHENTICATIONS["plain"], "username": "a\nb"}}
        ),
        "neither empty nor more than one line",
        "spec.connection.authentication.username: neither empty",
    ),
}

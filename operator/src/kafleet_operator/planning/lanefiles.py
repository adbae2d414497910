"""The lane file: what one agent process is told, as `agent_image/contract/lane.schema.json` describes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from kafleet_operator.planning.connections import ClientCertificate, ClientCredentials, Password

if TYPE_CHECKING:
    from kafleet_operator.planning.connections import Authentication, Connection, SecretKey
    from kafleet_operator.planning.fleets import Delivery, Fleet, Json, Lane

FILE_NAME = "lane.json"
FOLDER = "/etc/kafleet"
CODE_FOLDER = "/etc/kafleet/code"
SECRETS_FOLDER = "/etc/kafleet/secrets"
HTTP_PORT = 8080


def lane_file_for(fleet: Fleet, lane: Lane) -> Json:
    """Return the content of a lane's file; no secret is ever in it."""
    owner, agent = fleet.owner, lane.agent
    security = _security(fleet.connection)
    return {
        "version": 1,
        "kind": owner.kind,
        "namespace": owner.namespace,
        "resource": owner.name,
        "lane": lane.name,
        "group": lane.group,
        "bootstrapServers": fleet.connection.bootstrap_servers,
        **({"security": security} if security else {}),
        "inputs": [{"role": role, "topic": fleet.topic(role).name} for role in lane.inputs],
        "outputs": {lane.output: fleet.topic(lane.output).name},
        "output": lane.output,
        "deadLetters": fleet.topic(lane.dead_letters).name,
        "sends": {addressee: fleet.topic(role).name for addressee, role in lane.sends.items()},
        "agent": {
            "handler": agent.handler,
            "codePath": CODE_FOLDER if agent.code_config_map else None,
            "config": agent.config,
        },
        "delivery": _delivery(lane.delivery),
        "http": {"port": HTTP_PORT},
    }


def secret_path(key: SecretKey) -> str:
    """Return where a key of a Secret lies in the folder that Secrets are mounted to."""
    return f"{key.secret}/{key.key}"


def _security(connection: Connection) -> Json | None:
    """Say who the agents are and where what proves it is; None where nothing needs to be said."""
    if connection.authentication is None and connection.tls is None:
        return None
    ca = connection.tls.ca if connection.tls else None
    return {
        "authentication": _authentication(connection.authentication),
        "tls": {"caFile": _file(ca) if ca else None} if connection.tls else None,
    }


def _authentication(authentication: Authentication | None) -> Json | None:
    match authentication:
        case Password(mechanism, username, password):
            return {"type": mechanism.lower(), "username": username, "passwordFile": _file(password)}
        case ClientCertificate(certificate, key):
            return {"type": "mtls", "certificateFile": _file(certificate), "keyFile": _file(key)}
        case ClientCredentials(token_endpoint, client_id, client_secret, scope):
            return {
                "type": "oauthbearer",
                "tokenEndpointUri": token_endpoint,
                "clientId": client_id,
                "clientSecretFile": _file(client_secret),
                "scope": scope,
            }
    return None


def _file(key: SecretKey) -> str:
    return f"{SECRETS_FOLDER}/{secret_path(key)}"


def _delivery(delivery: Delivery) -> Json:
    return {_camel(name): value for name, value in asdict(delivery).items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)

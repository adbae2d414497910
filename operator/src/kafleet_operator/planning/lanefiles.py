"""The lane file: what one agent process is told, as `agent_image/contract/lane.schema.json` describes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Delivery, Fleet, Json, Lane

FILE_NAME = "lane.json"
FOLDER = "/etc/kafleet"
CODE_FOLDER = "/etc/kafleet/code"
HTTP_PORT = 8080


def lane_file_for(fleet: Fleet, lane: Lane) -> Json:
    """Return the content of a lane's file; no secret is ever in it."""
    owner, agent = fleet.owner, lane.agent
    return {
        "version": 1,
        "kind": owner.kind,
        "namespace": owner.namespace,
        "resource": owner.name,
        "lane": lane.name,
        "group": lane.group,
        "bootstrapServers": fleet.connection.bootstrap_servers,
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


def _delivery(delivery: Delivery) -> Json:
    return {_camel(name): value for name, value in asdict(delivery).items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)

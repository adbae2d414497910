"""`helm test`: whether an operator serves a namespace and reaches Kafka.

A fleet is made whose topics somebody else should have made, and nobody has. Only an operator that watches the
namespace, was answered by Kafka and may write can say so. Nothing is made in Kafka, and the fleet goes again.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from kafleet_operator.api.kinds import GROUP, VERSION
from kafleet_operator.effects.api_server import connect
from kafleet_operator.effects.views import TYPES
from kafleet_operator.errors import KafleetError

if TYPE_CHECKING:
    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.planning.fleets import Json

AGENT_GROUP: Final = TYPES["AgentGroup"]
LOOK_SECONDS: Final = 0.5
DEADLINE_SECONDS: Final = 60.0


async def trouble_in(api: ApiServer, namespace: str, deadline_seconds: float = DEADLINE_SECONDS) -> str:
    """Return what keeps the operator from serving a namespace, in words; empty if nothing does."""
    made = await api.create(AGENT_GROUP.path(namespace), _fleet(namespace))
    path = AGENT_GROUP.path(namespace, made["metadata"]["name"])
    conditions: list[Json] = []
    try:
        async with asyncio.timeout(deadline_seconds):
            while not _misses_its_topics(conditions):
                await asyncio.sleep(LOOK_SECONDS)
                conditions = (await api.read(path)).get("status", {}).get("conditions", [])
    except TimeoutError:
        said = [
            f"{each['type']} is {each['status']}, {each['reason']}: {each['message']}" for each in conditions
        ]
        return "; ".join(said) or "the operator said nothing about it; look at its pod and its log"
    finally:
        await api.delete(path, made["metadata"]["uid"])
    return ""


def _misses_its_topics(conditions: list[Json]) -> bool:
    return ("TopicsReady", "ReferenceNotFound") in {(each["type"], each["reason"]) for each in conditions}


def _fleet(namespace: str) -> Json:
    topics = {
        role: {"topic": f"{namespace}.helm-test.{role.lower()}", "managed": False}
        for role in ("tasks", "results", "deadLetters")
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": AGENT_GROUP.kind,
        "metadata": {"generateName": "helm-test-", "namespace": namespace},
        "spec": {"suspend": True, "workers": {"agent": {"handler": "helm:test"}}, **topics},
    }


async def main(namespace: str) -> int:
    """Say on standard output whether a namespace is served; return the process's exit code."""
    try:
        api = await connect()
        try:
            trouble = await trouble_in(api, namespace)
        finally:
            await api.close()
    except KafleetError as error:
        trouble = str(error)
    verdict = f"is not served: {trouble}" if trouble else "is served"
    print(f"namespace {namespace!r} {verdict}")  # noqa: T201  what `helm test --logs` shows
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))

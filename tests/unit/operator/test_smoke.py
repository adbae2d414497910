"""`helm test` passes where an operator serves, says what is wrong elsewhere, and leaves nothing behind."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import pytest
from virtual import run

from kafleet_operator.api.agentgroups import parse_agent_group
from kafleet_operator.errors import ApiUnavailable
from kafleet_operator.smoke import trouble_in

if TYPE_CHECKING:
    from kafleet_operator.effects.api_server import ApiServer

Json = dict[str, Any]

MISSING = {
    "type": "TopicsReady",
    "status": "False",
    "reason": "ReferenceNotFound",
    "message": "topic 'support.helm-test.tasks' does not exist",
}
ACCEPTED = {**MISSING, "type": "Accepted", "status": "True", "reason": "AllReady", "message": "all is well"}
UNREACHABLE = {
    "type": "TopicsReady",
    "status": "Unknown",
    "reason": "KafkaUnreachable",
    "message": "no broker answered",
}


class Served:
    """An API server with one fleet, whose conditions are `looks`, one after the other, the last for ever."""

    def __init__(self, *looks: list[Json] | Exception) -> None:
        self.looks = list(looks)
        self.fleets: dict[str, Json] = {}
        self.made: list[Json] = []

    async def create(self, path: str, body: Json) -> Json:
        self.made.append(body)
        made = {**copy.deepcopy(body), "metadata": {"name": "helm-test-x", "uid": "1"}}
        self.fleets[f"{path}/helm-test-x"] = made
        return made

    async def read(self, path: str) -> Json:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return {**self.fleets[path], **({"status": {"conditions": look}} if look else {})}

    async def delete(self, path: str, uid: str) -> None:
        assert self.fleets.pop(path)["metadata"]["uid"] == uid


@pytest.mark.parametrize(
    ("looks", "trouble"),
    [
        ([[], [ACCEPTED], [MISSING]], ""),
        ([[]], "the operator said nothing about it; look at its pod and its log"),
        (
            [[], [ACCEPTED, UNREACHABLE]],
            (
                "Accepted is True, AllReady: all is well; "
                "TopicsReady is Unknown, KafkaUnreachable: no broker answered"
            ),
        ),
    ],
    ids=["served", "no operator", "no Kafka"],
)
def test_trouble_is_told_in_the_operators_words(looks: list[list[Json]], trouble: str) -> None:
    server = Served(*looks)

    assert run(trouble_in(cast("ApiServer", server), "support")) == trouble
    assert server.fleets == {}


def test_nothing_stays_behind_a_failure() -> None:
    server = Served(ApiUnavailable("the API server did not answer"))

    with pytest.raises(ApiUnavailable):
        run(trouble_in(cast("ApiServer", server), "support"))

    assert server.fleets == {}


def test_its_fleet_runs_nothing_and_owns_no_topic() -> None:
    server = Served([MISSING])

    run(trouble_in(cast("ApiServer", server), "support"))

    spec = parse_agent_group({**server.made[0], "metadata": {"name": "helm-test-x", "namespace": "support"}})
    assert spec.suspend
    assert not any(topic.managed for topic in (spec.tasks, spec.results, spec.dead_letters))

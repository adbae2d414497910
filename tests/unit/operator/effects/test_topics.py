"""What is read and done together is told apart again: one topic's trouble is never another's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Uuid
from virtual import run

from kafleet_operator.effects.topics import Topics
from kafleet_operator.errors import Denied, KafkaUnreachable, KafleetError, NotFound, TopicRejected
from kafleet_operator.planning.plans import CreateTopic, GrowTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OBSERVE_SECONDS = 5.0


@dataclass
class FakeClient:
    """An AdminClient that answers at once; `errors` by topic are what it says in place of anything else.

    `asked` notes which topics each request named.
    """

    partitions: dict[str, int] = field(default_factory=dict)
    errors: dict[str, KafleetError] = field(default_factory=dict)
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def describe_topics(self, wanted: Any, **_: object) -> dict[str, Any]:  # noqa: ANN401 - a TopicCollection
        return self._answers("describe", wanted.topic_names, self._description)

    def describe_configs(self, wanted: list[Any], **_: object) -> dict[Any, Any]:
        values = {"max.message.bytes": "1", "cleanup.policy": "delete", "retention.ms": "-1"}
        config = {name: SimpleNamespace(name=name, value=each, source=5) for name, each in values.items()}
        found = self._answers("configs", [resource.name for resource in wanted], lambda _: config)
        return {resource: found[resource.name] for resource in wanted}

    def create_topics(self, new: list[Any], **_: object) -> dict[str, Any]:
        self.partitions |= {each.topic: each.num_partitions for each in new if each.topic not in self.errors}
        return self._answers("create", [each.topic for each in new], lambda _: None)

    def create_partitions(self, new: list[Any], **_: object) -> dict[str, Any]:
        self.partitions |= {each.topic: each.new_total_count for each in new}
        return self._answers("grow", [each.topic for each in new], lambda _: None)

    def _answers(self, what: str, names: list[str], tell: Callable[[str], Any]) -> dict[str, Any]:
        self.asked.append((what, sorted(names)))
        return {name: self.errors.get(name) or tell(name) for name in names}

    def _description(self, name: str) -> Any:  # noqa: ANN401 - confluent-kafka is untyped
        if name not in self.partitions:
            return NotFound(name)
        partitions = [SimpleNamespace(replicas=[1])] * self.partitions[name]
        return SimpleNamespace(name=name, topic_id=Uuid(1, 2), partitions=partitions)


@dataclass
class FakeBrokers:
    client: FakeClient
    failure: KafleetError | None = None

    async def call(
        self, _operation: str, request: Callable[[Any, float], Mapping[Any, Any]], *, scope: object = None
    ) -> dict[Any, Any]:
        del scope
        if self.failure:
            raise self.failure
        return dict(request(self.client, 1.0))


def topics_of(client: FakeClient) -> Topics:
    return Topics(FakeBrokers(client), OBSERVE_SECONDS)  # type: ignore[arg-type]


def test_a_topic_that_may_not_be_read_is_the_trouble_of_its_fleet_alone() -> None:
    """The error names the topic and the right that is missing."""
    client = FakeClient({"mine": 4, "denied": 4}, {"denied": Denied("no ACL allows the operator Describe")})

    async def story() -> None:
        topics = topics_of(client)
        mine = await topics.observe(["mine", "absent"], anew=True)
        assert (mine["absent"], mine["mine"] and mine["mine"].partitions) == (None, 4)
        with pytest.raises(Denied, match=r"^topic 'denied': no ACL allows the operator Describe$"):
            await topics.observe(["mine", "denied"], anew=True)

    run(story())


def test_what_is_there_is_believed_for_a_while_and_what_is_not_is_looked_for_each_time() -> None:
    """A fleet that waits for somebody else's topic sees it as soon as it looks."""
    client = FakeClient({"mine": 4})

    async def story() -> None:
        topics = topics_of(client)
        await topics.observe(["mine", "theirs"], anew=False)
        client.asked.clear()
        client.partitions["theirs"] = 1
        await asyncio.sleep(OBSERVE_SECONDS)
        seen = await topics.observe(["mine", "theirs"], anew=False)
        assert seen["theirs"] is not None
        assert ("describe", ["theirs"]) in client.asked
        client.asked.clear()
        await topics.observe(["mine", "theirs"], anew=False)
        assert client.asked == []

    run(story())


def test_a_failure_is_not_believed_for_long() -> None:
    """Nobody answered, and at the next look somebody does."""
    brokers = FakeBrokers(FakeClient({"mine": 4}), KafkaUnreachable("nobody answers"))

    async def story() -> None:
        topics = Topics(brokers, OBSERVE_SECONDS)  # type: ignore[arg-type]
        with pytest.raises(KafkaUnreachable):
            await topics.observe(["mine"], anew=False)
        brokers.failure = None
        assert (await topics.observe(["mine"], anew=False))["mine"] is not None

    run(story())


def test_many_topics_are_read_in_bounded_parts() -> None:
    """Five hundred topics are three requests of each sort."""
    client = FakeClient({f"topic-{number:03}": 1 for number in range(500)})

    async def story() -> None:
        seen = await topics_of(client).observe(client.partitions, anew=False)
        assert all(seen.values())

    run(story())
    assert [(what, len(names)) for what, names in client.asked] == [
        *[("describe", 200), ("describe", 200), ("describe", 100)],
        *[("configs", 200), ("configs", 200), ("configs", 100)],
    ]


def test_what_kafka_refuses_to_make_hides_nothing_that_it_made() -> None:
    """An id for what is there, Kafka's words for what is not."""
    client = FakeClient(errors={"wrong": TopicRejected("no such setting")})

    async def story() -> None:
        steps = [CreateTopic(name, 1, -1, {}) for name in ("fine", "wrong")]
        made = await topics_of(client).create(steps)
        assert made == {"fine": str(Uuid(1, 2)), "wrong": client.errors["wrong"]}
        assert await topics_of(client).grow([GrowTopic("fine", 3), GrowTopic("wrong", 3)]) == {
            "wrong": client.errors["wrong"]
        }

    run(story())

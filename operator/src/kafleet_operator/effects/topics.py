"""Topics: what there is, and the changes that a plan asks for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import TopicCollection
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from kafleet_operator.errors import KafkaUnreachable, KafleetError, NotFound
from kafleet_operator.planning.observations import TopicState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kafleet_operator.effects.brokers import Brokers
    from kafleet_operator.planning.plans import ConfigureTopic, CreateTopic, GrowTopic

APPEAR_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
# The scope of changes: one broker makes them all.
CONTROLLER: Final = "controller"


class Topics:
    """The topics of one Kafka cluster."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    async def observe(self, names: Iterable[str]) -> dict[str, TopicState | None]:
        """Return each topic, None where there is none; raise if any of them could not be read."""
        described = await self._describe(names)
        existing = [name for name, topic in described.items() if topic]
        configs = await self._configs(existing)
        return {
            name: _state(topic, configs[name]) if topic and configs[name] else None
            for name, topic in described.items()
        }

    async def create(self, steps: Sequence[CreateTopic]) -> dict[str, str | KafleetError]:
        """Create topics in one request; return the id of each once brokers show it, or what went wrong."""
        new = [
            NewTopic(step.name, step.partitions, step.replication_factor, config=dict(step.config))
            for step in steps
        ]
        results = await self._brokers.call(
            "create_topics",
            lambda client, seconds: client.create_topics(
                new, request_timeout=seconds, operation_timeout=seconds
            ),
            scope=CONTROLLER,
        )
        errors = {name: result for name, result in results.items() if isinstance(result, KafleetError)}
        ids = await self._await_ids(set(results) - set(errors))
        return {**errors, **ids}

    async def grow(self, steps: Sequence[GrowTopic]) -> dict[str, KafleetError]:
        """Add partitions; return what went wrong, by topic."""
        new = [NewPartitions(step.name, step.partitions) for step in steps]
        results = await self._brokers.call(
            "create_partitions",
            lambda client, seconds: client.create_partitions(
                new, request_timeout=seconds, operation_timeout=seconds
            ),
            scope=CONTROLLER,
        )
        return {name: result for name, result in results.items() if isinstance(result, KafleetError)}

    async def configure(self, steps: Sequence[ConfigureTopic]) -> dict[str, KafleetError]:
        """Set and reset overrides; return what went wrong, by topic."""
        changes = [
            ConfigResource(ResourceType.TOPIC, step.name, incremental_configs=_alterations(step))
            for step in steps
        ]
        results = await self._brokers.call(
            "incremental_alter_configs",
            lambda client, seconds: client.incremental_alter_configs(changes, request_timeout=seconds),
            scope=CONTROLLER,
        )
        return {
            resource.name: result for resource, result in results.items() if isinstance(result, KafleetError)
        }

    async def delete(self, ids: Mapping[str, str]) -> dict[str, KafleetError]:
        """Delete the topics that still have the given id; return what went wrong, by topic."""
        described = await self._describe(ids)
        doomed = [name for name, topic in described.items() if topic and str(topic.topic_id) == ids[name]]
        if not doomed:
            return {}
        results = await self._brokers.call(
            "delete_topics",
            lambda client, seconds: client.delete_topics(
                doomed, request_timeout=seconds, operation_timeout=seconds
            ),
            scope=CONTROLLER,
        )
        return {
            name: result
            for name, result in results.items()
            if isinstance(result, KafleetError) and not isinstance(result, NotFound)
        }

    async def _describe(self, names: Iterable[str]) -> dict[str, Any]:
        wanted = TopicCollection(sorted(names))
        if not wanted.topic_names:
            return {}
        results = await self._brokers.call(
            "describe_topics", lambda client, seconds: client.describe_topics(wanted, request_timeout=seconds)
        )
        return _present(results)

    async def _configs(self, names: list[str]) -> dict[str, Any]:
        """Return each topic's configuration, None for one that was deleted meanwhile."""
        if not names:
            return {}
        wanted = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        results = await self._brokers.call(
            "describe_configs",
            lambda client, seconds: client.describe_configs(wanted, request_timeout=seconds),
        )
        return _present({resource.name: result for resource, result in results.items()})

    async def _await_ids(self, names: set[str]) -> dict[str, str | KafleetError]:
        """Wait until brokers show new topics: reads lag creation by milliseconds."""
        described: dict[str, Any] = dict.fromkeys(names)
        deadline = asyncio.get_running_loop().time() + APPEAR_SECONDS
        while not all(described.values()) and asyncio.get_running_loop().time() < deadline:
            described = await self._describe(names)
            if not all(described.values()):
                await asyncio.sleep(POLL_SECONDS)
        late = KafkaUnreachable(f"a new topic does not appear within {APPEAR_SECONDS:g} s")
        return {name: str(topic.topic_id) if topic else late for name, topic in described.items()}


def _present(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results, None where the topic is absent; raise the first other error."""
    present: dict[str, Any] = {}
    for name, result in results.items():
        if isinstance(result, KafleetError) and not isinstance(result, NotFound):
            raise type(result)(f"topic {name!r}: {result}")
        present[name] = None if isinstance(result, NotFound) else result
    return present


def _state(topic: Any, config: Any) -> TopicState:  # noqa: ANN401 - confluent-kafka is untyped
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return TopicState(
        name=topic.name,
        id=str(topic.topic_id),
        partitions=len(topic.partitions),
        replication_factor=len(topic.partitions[0].replicas),
        overrides={entry.name: entry.value for entry in config.values() if entry.source == own},
        max_message_bytes=int(config["max.message.bytes"].value),
    )


def _alterations(step: ConfigureTopic) -> list[ConfigEntry]:
    sets = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in step.set.items()
    ]
    resets = [ConfigEntry(name, None, incremental_operation=AlterConfigOpType.DELETE) for name in step.reset]
    return sets + resets

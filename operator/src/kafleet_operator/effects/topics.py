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

from kafleet_operator.effects.batches import Batches, Bundles
from kafleet_operator.errors import KafkaUnreachable, KafleetError, NotFound
from kafleet_operator.planning.observations import TopicState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from kafleet_operator.effects.brokers import Brokers
    from kafleet_operator.planning.plans import ConfigureTopic, CreateTopic, GrowTopic

APPEAR_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
# Topics in one request: a configuration has some forty entries, and the loop waits while they are unpacked.
PART: Final = 200
# Topics change rarely and their reads are the dearest. A lost one is noticed at the next observation anyway.
FRESH_OBSERVATIONS: Final = 6
# The scope of changes: one broker makes them all.
CONTROLLER: Final = "controller"


class Topics:
    """The topics of one Kafka cluster. What many reconciles ask for within a moment goes in one request."""

    def __init__(self, brokers: Brokers, observe_seconds: float) -> None:
        self._brokers = brokers
        self._states: Batches[str, TopicState | KafleetError | None] = Batches(
            self._read, FRESH_OBSERVATIONS * observe_seconds
        )
        self._creating: Bundles[CreateTopic, str | KafleetError] = Bundles(self._create)
        self._growing: Bundles[GrowTopic, KafleetError | None] = Bundles(self._grow)
        self._configuring: Bundles[ConfigureTopic, KafleetError | None] = Bundles(self._configure)

    async def observe(self, names: Iterable[str], *, anew: bool) -> dict[str, TopicState | None]:
        """Return each topic, None where there is none; raise if any of them could not be read.

        Unless `anew`, what was read within the last few observations will do, if the topic was there.
        """
        states = await self._states.get(sorted(names), anew=anew)
        if doubtful := [name for name, state in states.items() if not isinstance(state, TopicState)]:
            states |= {} if anew else await self._states.get(doubtful, anew=True)
        return {name: _told(name, state) for name, state in states.items()}

    async def create(self, steps: Sequence[CreateTopic]) -> dict[str, str | KafleetError]:
        """Create topics; return the id of each once brokers show it, or what went wrong."""
        return await self._creating.ask({step.name: step for step in steps})

    async def grow(self, steps: Sequence[GrowTopic]) -> dict[str, KafleetError]:
        """Add partitions; return what went wrong, by topic."""
        return _errors(await self._growing.ask({step.name: step for step in steps}))

    async def configure(self, steps: Sequence[ConfigureTopic]) -> dict[str, KafleetError]:
        """Set and reset overrides; return what went wrong, by topic."""
        return _errors(await self._configuring.ask({step.name: step for step in steps}))

    async def delete(self, ids: Mapping[str, str]) -> dict[str, KafleetError]:
        """Delete the topics that still have the given id; return what went wrong, by topic."""
        described = await self._describe(ids)
        doomed = [
            name
            for name, topic in described.items()
            if _told(name, topic) and str(topic.topic_id) == ids[name]
        ]
        if not doomed:
            return {}
        results = await self._brokers.call(
            "delete_topics",
            lambda client, seconds: client.delete_topics(
                doomed, request_timeout=seconds, operation_timeout=seconds
            ),
            scope=CONTROLLER,
        )
        return {name: error for name, error in _errors(results).items() if not isinstance(error, NotFound)}

    async def _read(self, names: Collection[str]) -> dict[str, TopicState | KafleetError | None]:
        described = await self._describe(names)
        configs = await self._configs([name for name, topic in described.items() if _is_there(topic)])
        # What has no configuration, or an error in its place, was deleted meanwhile or is not ours to read.
        return {
            name: _state(topic, configs[name])
            if _is_there(topic) and _is_there(configs[name])
            else configs.get(name, topic)
            for name, topic in described.items()
        }

    async def _create(self, steps: Mapping[str, CreateTopic]) -> dict[str, str | KafleetError]:
        new = [
            NewTopic(step.name, step.partitions, step.replication_factor, config=dict(step.config))
            for step in steps.values()
        ]
        results = await self._brokers.call(
            "create_topics",
            lambda client, seconds: client.create_topics(
                new, request_timeout=seconds, operation_timeout=seconds
            ),
            scope=CONTROLLER,
        )
        errors = _errors(results)
        return {**errors, **await self._await_ids(results.keys() - errors.keys())}

    async def _grow(self, steps: Mapping[str, GrowTopic]) -> dict[str, KafleetError | None]:
        new = [NewPartitions(step.name, step.partitions) for step in steps.values()]
        results: dict[str, KafleetError | None] = await self._brokers.call(
            "create_partitions",
            lambda client, seconds: client.create_partitions(
                new, request_timeout=seconds, operation_timeout=seconds
            ),
            scope=CONTROLLER,
        )
        # Seen too small still, it would be grown again, and refused.
        await self._await(
            results.keys() - _errors(results).keys(),
            lambda name, topic: not _is_there(topic) or len(topic.partitions) >= steps[name].partitions,
        )
        return results

    async def _configure(self, steps: Mapping[str, ConfigureTopic]) -> dict[str, KafleetError | None]:
        changes = [
            ConfigResource(ResourceType.TOPIC, step.name, incremental_configs=_alterations(step))
            for step in steps.values()
        ]
        results = await self._brokers.call(
            "incremental_alter_configs",
            lambda client, seconds: client.incremental_alter_configs(changes, request_timeout=seconds),
            scope=CONTROLLER,
        )
        return {resource.name: result for resource, result in results.items()}

    async def _describe(self, names: Iterable[str]) -> dict[str, Any]:
        """Return each topic's description, None where there is none, or an error."""

        async def describe(part: list[str]) -> dict[str, Any]:
            wanted = TopicCollection(part)
            return await self._brokers.call(
                "describe_topics",
                lambda client, seconds: client.describe_topics(wanted, request_timeout=seconds),
            )

        return await _in_parts(describe, names)

    async def _configs(self, names: Iterable[str]) -> dict[str, Any]:
        """Return each topic's configuration, None for one that was deleted meanwhile, or an error."""

        async def describe(part: list[str]) -> dict[str, Any]:
            wanted = [ConfigResource(ResourceType.TOPIC, name) for name in part]
            results = await self._brokers.call(
                "describe_configs",
                lambda client, seconds: client.describe_configs(wanted, request_timeout=seconds),
            )
            return {resource.name: result for resource, result in results.items()}

        return await _in_parts(describe, names)

    async def _await_ids(self, names: Collection[str]) -> dict[str, str | KafleetError]:
        described = await self._await(names, lambda _name, _topic: True)
        late = KafkaUnreachable(f"a new topic does not appear within {APPEAR_SECONDS:g} s")
        return {
            name: str(topic.topic_id) if _is_there(topic) else topic or late
            for name, topic in described.items()
        }

    async def _await(self, names: Collection[str], is_done: Callable[[str, Any], bool]) -> dict[str, Any]:
        """Wait until brokers show changed topics: reads lag changes by milliseconds."""
        deadline = asyncio.get_running_loop().time() + APPEAR_SECONDS
        while True:
            described = await self._describe(names)
            late = [name for name, topic in described.items() if not (topic and is_done(name, topic))]
            if not late or asyncio.get_running_loop().time() > deadline:
                return described
            await asyncio.sleep(POLL_SECONDS)


async def _in_parts(
    describe: Callable[[list[str]], Awaitable[dict[str, Any]]], names: Iterable[str]
) -> dict[str, Any]:
    """Ask for a bounded number of topics at a time; what is not found is None."""
    ordered = sorted(names)
    parts = [ordered[start : start + PART] for start in range(0, len(ordered), PART)]
    described: dict[str, Any] = {}
    for part in parts:
        described |= await describe(part)
    return {name: None if isinstance(found, NotFound) else found for name, found in described.items()}


def _is_there(found: Any) -> bool:  # noqa: ANN401 - confluent-kafka is untyped
    return found is not None and not isinstance(found, KafleetError)


def _told(name: str, found: Any) -> Any:  # noqa: ANN401 - confluent-kafka is untyped
    """Return what was found, None included; raise an error that is in its place, with the topic's name."""
    if isinstance(found, KafleetError):
        raise type(found)(f"topic {name!r}: {found}")
    return found


def _errors(results: Mapping[str, object]) -> dict[str, KafleetError]:
    return {name: result for name, result in results.items() if isinstance(result, KafleetError)}


def _state(topic: Any, config: Any) -> TopicState:  # noqa: ANN401 - confluent-kafka is untyped
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return TopicState(
        name=topic.name,
        id=str(topic.topic_id),
        partitions=len(topic.partitions),
        replication_factor=len(topic.partitions[0].replicas),
        overrides={entry.name: entry.value for entry in config.values() if entry.source == own},
        max_message_bytes=int(config["max.message.bytes"].value),
        cleanup_policy=config["cleanup.policy"].value,
        retention_ms=int(config["retention.ms"].value),
    )


def _alterations(step: ConfigureTopic) -> list[ConfigEntry]:
    sets = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in step.set.items()
    ]
    resets = [ConfigEntry(name, None, incremental_operation=AlterConfigOpType.DELETE) for name in step.reset]
    return sets + resets

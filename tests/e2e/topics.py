"""Topics changed by hand, as somebody with Kafka's own tools would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)
from demo.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the broker knows it; `overrides` are its own settings, without inherited ones."""

    id: str
    partitions: int
    overrides: Mapping[str, str]


class Topics:
    """The topics of a broker."""

    def __init__(self, address: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": address, "log_level": 0})

    def create(self, name: str, partitions: int, **config: str) -> None:
        wished = NewTopic(name, partitions, config={key.replace("_", "."): config[key] for key in config})
        self._admin.create_topics([wished], request_timeout=SECONDS)[name].result()

    def delete(self, name: str) -> None:
        self._admin.delete_topics([name], request_timeout=SECONDS)[name].result()

    def set(self, name: str, **config: str) -> None:
        """Override settings, with underscores in place of dots."""
        changes = [
            ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for key, value in config.items()
        ]
        wished = ConfigResource(ResourceType.TOPIC, name, incremental_configs=changes)
        self._admin.incremental_alter_configs([wished], request_timeout=SECONDS)[wished].result()

    def __getitem__(self, name: str) -> Topic:
        """Return the topic as it is; raise Failed if there is none."""
        asked = ConfigResource(ResourceType.TOPIC, name)
        try:
            described = self._admin.describe_topics(TopicCollection([name]), request_timeout=SECONDS)
            settings = self._admin.describe_configs([asked], request_timeout=SECONDS)
            found, entries = described[name].result(), settings[asked].result()
        except KafkaException as error:
            raise Failed(f"{name!r} cannot be described: {error.args[0].str()}") from error
        return Topic(
            id=str(found.topic_id),
            partitions=len(found.partitions),
            overrides={
                key: entry.value
                for key, entry in entries.items()
                if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
            },
        )

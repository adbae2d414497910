"""A consumer group's own settings, set by hand."""

from __future__ import annotations

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

SECONDS = 10.0


def set_session_timeout(address: str, group: str, milliseconds: int) -> None:
    """Let the broker at this address wait so long for a silent member of the group."""
    change = ConfigEntry(
        "consumer.session.timeout.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET
    )
    wished = ConfigResource(ResourceType.GROUP, group, incremental_configs=[change])
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    admin.incremental_alter_configs([wished], request_timeout=SECONDS)[wished].result()

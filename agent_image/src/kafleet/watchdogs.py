"""Stopping all work once the group's coordinator has been silent for too long: it may be about to expel us.

The broker expels a member that it has not heard for the group's session timeout, and gives its partitions to
others. Whoever is cut off learns of that only later, so it has to stop by its own clock, and before.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from kafleet.connections import librdkafka_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from kafleet.lanes import Lane

DEFAULT_SESSION_SECONDS = 45.0
"""Kafka's own, for groups that say nothing else."""
_SHARE = 0.8
_SHORTEST_SECONDS = 3.0  # the client says each second when it heard the coordinator
_LOOK_SECONDS = 0.25
_CALL_SECONDS = 10.0


class Suspended(Protocol):
    """Whoever stops and goes on."""

    is_suspended: bool

    def suspend(self) -> None: ...

    def resume(self) -> None: ...


class Heard(Protocol):
    """Whoever knows when the coordinator was heard."""

    @property
    def unheard_seconds(self) -> float: ...


class Watchdog:
    """Suspends a dispatcher while the coordinator is silent; `session_seconds` may block."""

    def __init__(
        self,
        contact: Heard,
        dispatcher: Suspended,
        *,
        session_seconds: Callable[[], float],
        logger: FilteringBoundLogger,
    ) -> None:
        self._contact = contact
        self._dispatcher = dispatcher
        self._session_seconds = session_seconds
        self._logger = logger

    async def run(self) -> None:
        """Watch until cancelled. To be started when the group is joined."""
        session = await asyncio.to_thread(self._session_seconds)
        limit = max(session * _SHARE, _SHORTEST_SECONDS)
        self._logger.info("watching the group's coordinator", session_seconds=session, limit_seconds=limit)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            silent = self._contact.unheard_seconds
            if silent > limit and not self._dispatcher.is_suspended:
                self._logger.warning("the group's coordinator is silent, cancelling all work", seconds=silent)
                self._dispatcher.suspend()
            elif silent <= limit and self._dispatcher.is_suspended:
                self._logger.info("the group's coordinator is back, working on")
                self._dispatcher.resume()


def session_seconds_of(lane: Lane, logger: FilteringBoundLogger) -> float:
    """Ask the broker how long it waits for a silent member of the lane's group; blocks.

    Where that may not be read, which takes DESCRIBE_CONFIGS on the group, it is taken for Kafka's default.
    """
    client = AdminClient(librdkafka_settings(lane), logger=logging.getLogger("librdkafka"))
    group = ConfigResource(ConfigResource.Type.GROUP, lane.group)
    try:
        configs = client.describe_configs([group], request_timeout=_CALL_SECONDS)[group].result()
        return float(configs["consumer.session.timeout.ms"].value) / 1_000
    except (KafkaException, KeyError) as error:
        logger.info(
            "cannot read the group's session timeout, taking Kafka's default",
            error=str(error),
            seconds=DEFAULT_SESSION_SECONDS,
        )
        return DEFAULT_SESSION_SECONDS

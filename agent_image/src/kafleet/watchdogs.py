"""Stopping all work once the group's coordinator has been silent for too long: it may be about to expel us.

The broker expels a member that it has not heard for the group's session timeout, and gives its partitions to
others. Whoever is cut off learns of that only later, so it has to stop by its own clock, and before. And it
goes on later than it hears the coordinator again: that it was expelled comes with the answer to a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from kafleet.connections import librdkafka_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from kafleet.lanes import Lane


class Timing(NamedTuple):
    """How long the broker waits for a silent member, and how often it wants to hear from it; in seconds."""

    session: float
    heartbeat: float


DEFAULT_TIMING = Timing(45.0, 5.0)
"""Kafka's own, for groups that say nothing else."""
_ANSWER_SECONDS = 1.0
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
    """Suspends a dispatcher while the coordinator is silent; `timing` may block."""

    def __init__(
        self,
        contact: Heard,
        dispatcher: Suspended,
        *,
        timing: Callable[[], Timing],
        logger: FilteringBoundLogger,
    ) -> None:
        self._contact = contact
        self._dispatcher = dispatcher
        self._timing = timing
        self._logger = logger

    async def run(self) -> None:
        """Watch until cancelled. To be started when the group is joined."""
        timing = await asyncio.to_thread(self._timing)
        limit = max(timing.session * _SHARE, _SHORTEST_SECONDS)
        self._logger.info(
            "watching the group's coordinator", session_seconds=timing.session, limit_seconds=limit
        )
        clock, silent_at = asyncio.get_running_loop().time, 0.0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            silent = self._contact.unheard_seconds
            if silent > limit:
                silent_at = clock()
                if not self._dispatcher.is_suspended:
                    self._logger.warning(
                        "the group's coordinator is silent, cancelling all work", seconds=silent
                    )
                    self._dispatcher.suspend()
            elif self._dispatcher.is_suspended and clock() - silent_at > timing.heartbeat + _ANSWER_SECONDS:
                self._logger.info("the group's coordinator is back, working on")
                self._dispatcher.resume()


def timing_of(lane: Lane, logger: FilteringBoundLogger) -> Timing:
    """Ask the broker for the timing of the lane's group; blocks.

    Where that may not be read, which takes DESCRIBE_CONFIGS on the group, it is taken for Kafka's default.
    """
    client = AdminClient(librdkafka_settings(lane), logger=logging.getLogger("librdkafka"))
    group = ConfigResource(ConfigResource.Type.GROUP, lane.group)
    try:
        configs = client.describe_configs([group], request_timeout=_CALL_SECONDS)[group].result()
        names = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms")
        return Timing(*(float(configs[name].value) / 1_000 for name in names))
    except (KafkaException, KeyError) as error:
        logger.info(
            "cannot read the group's session timeout, taking Kafka's default",
            error=str(error),
            seconds=DEFAULT_TIMING.session,
        )
        return DEFAULT_TIMING

"""Waiting, before the group is joined, until the process that ran in this pod before is out of it.

A container that died is started again within a second or so, and the operator takes its member out of the
group within about the same time. Whoever joins just afterwards gets the dead one's partitions in its first
heartbeat. Whoever joins while the dead one is still listed is promised partitions of the living, too, which
they first have to drain, and hears of those of the dead one at a later heartbeat: one comes each 5 s.

Only a process that finds the footprint of one that did not leave looks for it at all. librdkafka can abort
the process when it loses a broker while it looks (its issue 4605), so it is asked as rarely as can be.
"""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kafleet.connections import librdkafka_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from structlog.typing import FilteringBoundLogger

    from kafleet.lanes import Lane

LONGEST_WAIT_SECONDS = 2.0
"""Where nobody takes the dead one out its session has to run out, whether somebody waits or not."""
_LOOK_SECONDS = 0.05


class Footprint:
    """A file that is there from before a process joins its group until it has left it.

    It is in the folder for temporary files, which a pod keeps when its container is started again.
    """

    def __init__(self, group: str, client_id: str) -> None:
        self._path = (
            Path(tempfile.gettempdir()) / f"kafleet-{quote(group, safe='')}-{quote(client_id, safe='')}"
        )

    def is_there(self) -> bool:
        """Tell whether the process before this one has not left its group."""
        return self._path.exists()

    def leave(self) -> None:
        """Make it; where that cannot be done, the next process joins without looking."""
        with suppress(OSError):
            self._path.touch()

    def remove(self) -> None:
        """Remove it: the group was left."""
        with suppress(OSError):
            self._path.unlink()


def await_departure(
    client_id: str,
    client_ids: Callable[[], Collection[str]],
    *,
    logger: FilteringBoundLogger,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Block while the group has a member with this client id, for `LONGEST_WAIT_SECONDS` at most.

    The client id is the pod's name, and of two processes of a pod the first has ended when the second begins:
    that member is dead. A group that may not be looked at is joined at once.
    """
    begin, was_there = clock(), False
    while (waited := clock() - begin) < LONGEST_WAIT_SECONDS:
        try:
            is_there = client_id in client_ids()
        except KafkaException as error:
            logger.info("cannot see the group's members, joining", error=str(error))
            return
        if not is_there:
            if was_there:
                logger.info("the process before this one is out of the group", seconds=round(waited, 3))
            return
        was_there = True
        sleep(_LOOK_SECONDS)
    logger.warning("the process before this one is still in the group, joining beside it")


def client_ids_of(lane: Lane) -> Callable[[], Collection[str]]:
    """Return how to ask for the client ids of the group's members, by a call that blocks.

    It may raise KafkaException. It takes DESCRIBE on the group, which READ implies.
    """
    client = AdminClient(librdkafka_settings(lane), logger=logging.getLogger("librdkafka"))

    def client_ids() -> Collection[str]:
        described = client.describe_consumer_groups([lane.group], request_timeout=LONGEST_WAIT_SECONDS)
        return {member.client_id for member in described[lane.group].result().members}

    return client_ids

"""One agent process: load, join, work until told to stop, leave in good order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import structlog
import uvloop
from confluent_kafka import KafkaException

from kafleet.attempts import Attempts
from kafleet.contacts import Contact
from kafleet.dispatching import Dispatcher
from kafleet.errors import InvalidSecret, StartError
from kafleet.lanes import read_lane
from kafleet.loading import load_handlers
from kafleet.logs import configure_logs
from kafleet.metrics import Metrics
from kafleet.reading import Reader
from kafleet.serving import Server
from kafleet.stalls import LogEnds, Stalls
from kafleet.statuses import Statuses
from kafleet.terminations import TerminationLog
from kafleet.tracing import tracing_of
from kafleet.transactions import Transactions
from kafleet.transactors import Transactor
from kafleet.transactorthreads import InThread
from kafleet.watchdogs import Watchdog, timing_of
from kafleet.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from kafleet.backlogs import Item
    from kafleet.lanes import Lane
    from kafleet.loading import Handlers

_TERMINATION_LOG = "/dev/termination-log"
_COLLECTED_OBJECTS = 500_000
_CANNOT_GO_ON = 1
_CANNOT_START = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """The process's environment; `termination_log` is None outside a pod."""

    lane_file: Path
    termination_log: Path | None
    pod: str
    log_level: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        named = environment.get("KAFLEET_TERMINATION_LOG")
        default = Path(_TERMINATION_LOG)
        return cls(
            lane_file=Path(environment.get("KAFLEET_LANE_FILE", "/etc/kafleet/lane.json")),
            # Kubernetes makes the file; elsewhere nobody reads it.
            termination_log=Path(named) if named else default if default.exists() else None,
            pod=environment.get("KAFLEET_POD_NAME") or socket.gethostname(),
            log_level=environment.get("KAFLEET_LOG_LEVEL", "info"),
        )


def main() -> NoReturn:
    """Run until SIGTERM. Exit codes: 0 left in good order, 1 could not go on, 2 could not start."""
    settings = Settings.from_environment(os.environ)
    configure_logs(settings.log_level)
    logger = structlog.get_logger()
    last_words = TerminationLog(settings.termination_log, logger)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(run(settings, last_words))
        except StartError as error:
            logger.exception("agent cannot start", reason=str(error), exc_info=error.__cause__)
            last_words.note(error=str(error))
            code = _CANNOT_START
        except Exception as error:
            logger.exception("agent gives up", reason="internal error")
            last_words.note(error=f"internal error: {error!r}")
            code = _CANNOT_GO_ON
        # Everything is closed by now. A handler that cannot be stopped must not keep the process.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


async def run(settings: Settings, last_words: TerminationLog) -> int:
    """Run the agent until SIGTERM or SIGINT; returns the exit code. Raises StartError if it cannot start."""
    lane = read_lane(settings.lane_file)
    last_words.note(group=lane.group)
    handlers = load_handlers(lane.agent)
    try:
        process = Process(settings, lane, handlers, last_words)
    except KafkaException as error:
        raise InvalidSecret(f"Kafka's client cannot use its settings: {error.args[0].str()}") from None
    return await process.run()


class Process:
    """The parts of one agent process, put together."""

    def __init__(
        self, settings: Settings, lane: Lane, handlers: Handlers, last_words: TerminationLog
    ) -> None:
        self._settings = settings
        self._lane = lane
        self._last_words = last_words
        self._logger = structlog.get_logger().bind(group=lane.group)
        self._stop = asyncio.Event()
        self._failure: str | None = None
        self._contact = Contact()
        metrics = Metrics()
        pool = ThreadPoolExecutor(lane.delivery.concurrency, thread_name_prefix="handler")
        attempts = Attempts(lane, handlers, pool=pool, logger=self._logger)
        self._reader = Reader(
            lane, settings.pod, self._contact, logger=self._logger, joined=self._joined, fail=self._fail
        )
        self._writer = self._sink(metrics)
        self._tracing = tracing_of(lane, settings.pod, attempts.attempt, self._logger, os.environ)
        self._dispatcher = Dispatcher(
            lane,
            attempts.attempt if self._tracing is None else self._tracing.attempt,
            self._reader,
            self._writer,
            metrics=metrics,
            logger=self._logger,
            commit=self._writer.commit if isinstance(self._writer, Transactions) else None,
        )
        metrics.watch(self._dispatcher)
        self._watchdog = Watchdog(
            self._contact,
            self._dispatcher,
            timing=partial(timing_of, lane, self._logger),
            logger=self._logger,
        )
        self._chores: list[asyncio.Task[None]] = []
        self._stalls = Stalls(self._dispatcher, LogEnds(lane))
        statuses = Statuses(lane, settings.pod, self._dispatcher, self._contact, self._stalls)
        self._server = Server(
            metrics.registry, ills=statuses.ills, lacks=statuses.lacks, status=statuses.status
        )

    def _sink(self, metrics: Metrics) -> Writer[Item] | Transactions:
        if self._lane.delivery.guarantee == "AtLeastOnce":
            return Writer(self._lane, self._settings.pod, fail=self._fail)
        transactor = Transactor(self._lane, self._settings.pod, self._reader, logger=self._logger)
        is_ordered = self._lane.delivery.ordering == "Key"
        return Transactions(InThread(transactor), is_ordered=is_ordered, metrics=metrics, fail=self._fail)

    async def run(self) -> int:
        port = await self._server.start(self._lane.http.port)
        self._logger.info("agent starts", pod=self._settings.pod, handler=self._lane.agent.handler, port=port)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._interrupt)
        _spare_the_collector()
        self._writer.start(self._dispatcher)
        commit_first = self._writer.begin if isinstance(self._writer, Transactions) else None
        self._reader.start(self._dispatcher, commit_first=commit_first)
        self._begin("committing", self._dispatcher.commits.regularly())
        self._begin("looking for stalls", self._stalls.run())
        if isinstance(self._writer, Transactions):
            self._begin("transactions", self._writer.run())
        await self._stop.wait()
        if self._failure is None:
            await self._leave()
        for chore in self._chores:
            chore.cancel()
        if self._failure is not None:
            self._logger.error("agent gives up", reason=self._failure)
            await self._dispatcher.drain(0)
        self._writer.stop()
        if self._tracing is not None:
            await self._tracing.close()
        await self._server.stop()
        if self._failure is None:
            self._last_words.note(member=None)  # it has left: nobody needs to remove it
        code = 0 if self._failure is None else _CANNOT_GO_ON
        self._logger.info("agent ends", code=code)
        return code

    def _interrupt(self) -> None:
        """Leave in good order; when told so again, without waiting for what is in flight."""
        if self._stop.is_set():
            self._dispatcher.suspend()
        self._stop.set()

    async def _leave(self) -> None:
        self._logger.info("agent stops, finishing what is in flight", in_flight=self._dispatcher.in_flight)
        positions = await self._dispatcher.drain(self._lane.delivery.task_timeout_seconds)
        if not await self._reader.stop(positions):
            self._fail("the last commit or leaving the group was not confirmed")

    def _fail(self, reason: str) -> None:
        """End the process with a reason; the first one counts."""
        if self._failure is None:
            self._failure = reason
            self._last_words.note(error=reason)
        self._dispatcher.cancel()
        self._stop.set()

    def _begin(self, name: str, chore: Coroutine[Any, Any, None]) -> None:
        """Do something for as long as the process lives; should it end by itself, so does the process."""
        task = asyncio.get_running_loop().create_task(chore, name=name)
        task.add_done_callback(self._chore_ended)
        self._chores.append(task)

    def _chore_ended(self, chore: asyncio.Task[None]) -> None:
        if not chore.cancelled():
            self._fail(f"internal error in {chore.get_name()}: {chore.exception()!r}")

    def _joined(self, member_id: str) -> None:
        """Leave the member id where the operator finds it, however this process ends."""
        self._logger.info("group joined", member_id=member_id)
        self._last_words.note(member=member_id)
        self._begin("watching the coordinator", self._watchdog.run())


def _spare_the_collector() -> None:
    """Leave what is loaded by now out of garbage collections, and make them rarer.

    Records in flight are many young objects without cycles: looking through them, and through every module
    each time, took a third of the processor time of each record.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_OBJECTS)

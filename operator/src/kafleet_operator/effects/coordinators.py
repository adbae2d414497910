"""Questions to group coordinators, asked by a process of its own.

librdkafka 2.16 ends its process, by an assertion or a segmentation fault, when a coordinator falls silent
while an admin request waits for it (librdkafka#4605, #5397). So these requests, and only these, are made by a
child: it may end, the operator may not.

    python -m kafleet_operator.effects.coordinators < questions > answers

One JSON value a line: the client's configuration, then questions `[number, seconds, "observe", {group:
[[topic, partition], …]}]` or `[number, seconds, "delete", {group: []}]`. Answers `[number, {group: answer}]`
come in any order; an answer is what was asked for, or `{"error": code, "message": …}`. The child ends with
its input.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from kafleet_operator.errors import KafkaUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from kafleet_operator.planning.fleets import Json

log = structlog.get_logger("kafleet.coordinators")

# What the child is given beyond the time that it gives the coordinators.
SPARE_SECONDS: Final = 5.0

Groups = dict[str, list[tuple[str, int]]]
Pending = dict[int, asyncio.Future[dict[str, Any]]]


class Coordinators:
    """Asks the coordinators of one Kafka cluster; a child is started when needed, as often as needed."""

    def __init__(self, configuration: Mapping[str, str | int]) -> None:
        self._configuration = configuration
        self._child: _Child | None = None

    async def ask(self, what: str, groups: Mapping[str, Iterable[tuple[str, int]]], seconds: float) -> Json:
        """Return the child's answer for each group; KafkaUnreachable if it ends or is late."""
        if self._child is None or self._child.has_ended():
            self._child = _Child(self._configuration)
        lists = {group: list(partitions) for group, partitions in groups.items()}
        return await self._child.ask(what, lists, seconds)


class _Child:
    def __init__(self, configuration: Mapping[str, str | int]) -> None:
        self._numbers = itertools.count()
        self._pending: Pending = {}
        self._process = subprocess.Popen(  # noqa: S603  this very program
            [sys.executable, "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what librdkafka says when it gives up is no JSON
            text=True,
        )
        weakref.finalize(self, _end, self._process)
        arguments = (self._process, asyncio.get_running_loop(), self._pending)
        threading.Thread(target=_receive, args=arguments, daemon=True).start()
        self._write(dict(configuration))

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    async def ask(self, what: str, groups: Groups, seconds: float) -> Json:
        number = next(self._numbers)
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            self._write([number, seconds, what, groups])
            async with asyncio.timeout(seconds + SPARE_SECONDS):
                answers: Json = await answer
        except (TimeoutError, OSError):
            _end(self._process)
            raise KafkaUnreachable("the coordinators of consumer groups do not answer") from None
        finally:
            self._pending.pop(number, None)
        return answers

    def _write(self, line: object) -> None:
        assert self._process.stdin  # noqa: S101  it was asked for
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _receive(process: subprocess.Popen[str], loop: asyncio.AbstractEventLoop, pending: Pending) -> None:
    """Pass on answers until the child ends; in a thread, which keeps nothing of the asker alive."""
    assert process.stdout  # noqa: S101  it was asked for
    try:
        for line in process.stdout:
            number, groups = json.loads(line)
            loop.call_soon_threadsafe(_settle, pending, number, groups)
        loop.call_soon_threadsafe(_give_up, pending, process.wait())
    except (ValueError, RuntimeError):  # the pipe was closed, or the loop is: nobody waits any more
        return


def _settle(pending: Pending, number: int, groups: dict[str, Any]) -> None:
    answer = pending.get(number)
    if answer and not answer.done():
        answer.set_result(groups)


def _give_up(pending: Pending, status: int) -> None:
    log.warning("the process that asks coordinators ended; the next question starts another", status=status)
    for answer in pending.values():
        if not answer.done():
            answer.set_exception(KafkaUnreachable("the coordinators of consumer groups fell silent"))


# What follows runs in the child.


async def serve() -> None:
    """Answer questions until the input ends."""
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    client = AdminClient(json.loads(await reader.readline()))
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        number, seconds, what, groups = json.loads(line)
        answering = asyncio.create_task(_answer(number, ANSWERS[what](client, groups, seconds)))
        tasks.add(answering)
        answering.add_done_callback(tasks.discard)


async def _answer(number: int, answering: Coroutine[Any, Any, dict[str, Any]]) -> None:
    print(json.dumps([number, await answering]), flush=True)  # noqa: T201  it is the answer


async def observe(client: AdminClient, groups: Groups, seconds: float) -> dict[str, Any]:
    """Describe each group, and say which offsets it has committed."""
    described = client.describe_consumer_groups(list(groups), request_timeout=seconds)
    states = await asyncio.gather(*(_said(_state, future) for future in described.values()))
    offsets = await asyncio.gather(
        *(_committed(client, group, partitions, seconds) for group, partitions in groups.items())
    )
    return {
        group: state if "error" in state else {**state, **committed}
        for group, state, committed in zip(groups, states, offsets, strict=True)
    }


async def delete(client: AdminClient, groups: Groups, seconds: float) -> dict[str, Any]:
    """Delete groups."""
    futures = client.delete_consumer_groups(list(groups), request_timeout=seconds)
    answers = await asyncio.gather(*(_said(lambda _: {}, future) for future in futures.values()))
    return dict(zip(futures, answers, strict=True))


ANSWERS: Final[Mapping[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]]] = {
    "observe": observe,
    "delete": delete,
}


async def _committed(
    client: AdminClient, group: str, partitions: list[tuple[str, int]], seconds: float
) -> dict[str, Any]:
    if not partitions:
        return {"committed": []}
    wanted = [TopicPartition(topic, number) for topic, number in partitions]
    request = [ConsumerGroupTopicPartitions(group, wanted)]
    futures = client.list_consumer_group_offsets(request, request_timeout=seconds)
    return await _said(_offsets, futures[group])


async def _said(tell: Callable[[Any], dict[str, Any]], future: Any) -> dict[str, Any]:  # noqa: ANN401 - untyped
    try:
        return tell(await asyncio.wrap_future(future))
    except KafkaException as error:
        return {"error": error.args[0].code(), "message": error.args[0].str()}


def _state(description: Any) -> dict[str, Any]:  # noqa: ANN401 - confluent-kafka is untyped
    return {
        "state": description.state.name,
        "members": len(description.members),
        "assigned": [
            (partition.topic, partition.partition)
            for member in description.members
            for partition in member.assignment.topic_partitions
        ],
    }


def _offsets(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - confluent-kafka is untyped
    failed = [partition.error for partition in answer.topic_partitions if partition.error]
    if failed:
        raise KafkaException(failed[0])
    return {
        "committed": [
            (partition.topic, partition.partition, partition.offset)
            for partition in answer.topic_partitions
            if partition.offset >= 0  # below zero: nothing was committed
        ]
    }


if __name__ == "__main__":
    asyncio.run(serve())

"""Writing never falls silent: the process learns of whatever happens there, and what came of each write.

Kafka is the client library's own mock of it.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from unit.agent.samples import lane

from kafleet.records import Outgoing
from kafleet.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kafleet.ports import WriteFailed

SECONDS = 30


class Broken:
    """A client in whose callbacks something goes wrong that nobody has thought of."""

    def poll(self, _seconds: float) -> int:
        raise ZeroDivisionError("in a callback")


class Settlements:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.settled_works: list[str] = []
        self.failures: dict[str, list[tuple[Outgoing, str]]] = {}
        self._expected = 0
        self._is_complete = asyncio.Event()

    def settled(self, works: Sequence[str]) -> None:
        self.settled_works += works
        self._look()

    def unwritten(self, work: str, failures: Sequence[tuple[Outgoing, WriteFailed]]) -> None:
        self.failures[work] = [(outgoing, str(error)) for outgoing, error in failures]
        self._look()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the rest of the port is not for writers
        raise AssertionError(f"{name!r} was asked for")

    async def until(self, count: int) -> None:
        """Wait until so many works are answered."""
        self._expected = count
        self._look()
        await asyncio.wait_for(self._is_complete.wait(), SECONDS)

    def _look(self) -> None:
        if len(self.settled_works) + len(self.failures) >= self._expected > 0:
            self._is_complete.set()


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    mock = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})
    (broker,) = mock.list_topics(timeout=SECONDS).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del mock


@contextmanager
def writing(settlements: Settlements, servers: str) -> Iterator[Writer[str]]:
    def fail(reason: str) -> None:
        raise AssertionError(reason)

    at = lane().model_copy(update={"bootstrap_servers": servers})
    writer: Writer[str] = Writer(at, "pod-1", fail=fail)
    writer.start(settlements)
    yield writer
    writer.stop()


def outgoing(value: bytes, topic: str = "results") -> Outgoing:
    return Outgoing(topic, b"key", value, [("ce_id", b"1"), ("none", None)])


def test_an_error_that_nobody_has_thought_of_ends_the_process() -> None:
    async def story() -> str:
        failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        writer: Writer[Any] = Writer(lane(), "pod-1", fail=failed.set_result)
        writer._producer = Broken()
        writer.start(None)  # type: ignore[arg-type] # nobody is told anything
        return await asyncio.wait_for(failed, 30)

    assert asyncio.run(story()) == "the producer cannot be served: ZeroDivisionError('in a callback')"


def test_works_are_settled_once_when_all_of_them_is_acknowledged(brokers: str) -> None:
    async def story() -> Settlements:
        settlements = Settlements()
        with writing(settlements, brokers) as writer:
            for number in range(100):
                writer.write(f"one {number}", [outgoing(b"1")])
                writer.write(f"three {number}", [outgoing(b"1"), outgoing(b"2"), outgoing(b"3")])
            assert not settlements.settled_works
            await settlements.until(200)
            assert len(writer._producer) == 0
        return settlements

    told = asyncio.run(story())

    assert len(told.settled_works) == len(set(told.settled_works)) == 200
    assert not told.failures


def test_what_brokers_have_not_answered_is_not_settled() -> None:
    """Nobody listens there: as long as a write waits nothing is told of it; what fails is told in the end."""

    async def story() -> Settlements:
        settlements = Settlements()
        with writing(settlements, "127.0.0.1:1") as writer:
            writer.write("work", [outgoing(b"1"), outgoing(b"2")])
            for _ in range(20):
                writer._producer.poll(0.01)
            assert not writer._answered
            writer._producer.purge()
            await settlements.until(1)
        return settlements

    told = asyncio.run(story())

    assert not told.settled_works
    assert [each.value for each, _ in told.failures["work"]] == [b"1", b"2"]


def test_of_a_work_only_what_failed_is_told(brokers: str) -> None:
    """The client refuses a topic's name at once, and writes what came before it."""

    async def story() -> Settlements:
        settlements = Settlements()
        with writing(settlements, brokers) as writer:
            writer.write("good", [outgoing(b"1")])
            writer.write("half", [outgoing(b"2"), outgoing(b"3", topic="x" * 600)])
            await settlements.until(2)
        return settlements

    told = asyncio.run(story())

    assert told.settled_works == ["good"]
    assert [each.value for each, _ in told.failures["half"]] == [b"3"]


def test_what_the_client_cannot_even_take_is_not_settled(brokers: str) -> None:
    """Nothing makes such a record; but were there one, letting go of it must not settle its work."""
    strange: Any = Outgoing("results", b"key", b"2", [("ce_hops", 1)])  # type: ignore[list-item]

    async def story() -> Settlements:
        settlements = Settlements()
        with writing(settlements, brokers) as writer:
            writer.write("half", [outgoing(b"1"), strange, outgoing(b"3")])
            await settlements.until(1)
        return settlements

    told = asyncio.run(story())

    assert not told.settled_works
    assert [each.value for each, _ in told.failures["half"]] == [b"2"]


def test_a_key_goes_to_the_partition_where_java_would_put_it(brokers: str) -> None:
    """Else a key that is written from both sides has no order; the client's own default is another hash.

    The hashes are those of Kafka's own tests of its murmur2.
    """
    hashes = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }

    async def story() -> None:
        settlements = Settlements()
        with writing(settlements, brokers) as writer:
            for key in hashes:
                writer.write(key.decode(), [Outgoing("keyed", key, b"", [])])
            await settlements.until(len(hashes))

    asyncio.run(story())
    reader = Consumer({"bootstrap.servers": brokers, "group.id": "reader"})
    count = len(reader.list_topics("keyed", timeout=SECONDS).topics["keyed"].partitions)
    reader.assign([TopicPartition("keyed", number, 0) for number in range(count)])
    found = {each.key(): each.partition() for each in reader.consume(len(hashes), SECONDS)}
    reader.close()

    assert count > 1
    assert found == {key: (number & 0x7FFFFFFF) % count for key, number in hashes.items()}

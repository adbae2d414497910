"""Groups are read and relieved of dead members by a real broker, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from integration.ports import free_ports
from integration.servers import DEADLINE_SECONDS, Process, eventually
from structlog.testing import capture_logs

from kafleet_operator.effects.connections import kafka_python_settings
from kafleet_operator.effects.groups import Groups
from kafleet_operator.effects.leaders import METADATA_VERSION
from kafleet_operator.effects.nodes import REQUEST_SECONDS, Nodes
from kafleet_operator.effects.protocol import MetadataRequest
from kafleet_operator.errors import KafkaUnreachable, KafleetError
from kafleet_operator.planning.connections import Connection, Tls
from kafleet_operator.planning.observations import GroupState, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.servers import Broker

PARTITIONS = 3
MEMBER = """
import sys, time
from confluent_kafka import Consumer
servers, group, topic = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "group.protocol": "consumer"})
consumer.subscribe([topic])
while len(consumer.assignment()) < 3:
    consumer.poll(0.1)
print(consumer.memberid(), flush=True)
time.sleep(3600)
"""


class Log:
    """A topic of three partitions with two records in each, and clients for its groups."""

    def __init__(self, broker: Broker) -> None:
        self.servers = broker.bootstrap_servers
        self.topic = f"groups-{uuid.uuid4().hex[:8]}"
        admin = AdminClient({"bootstrap.servers": self.servers})
        admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result()
        producer = Producer({"bootstrap.servers": self.servers})
        for number in [*range(PARTITIONS)] * 2:
            producer.produce(self.topic, b"record", partition=number)
        assert producer.flush(60) == 0

    @property
    def partitions(self) -> list[tuple[str, int]]:
        return [(self.topic, number) for number in range(PARTITIONS)]

    def groups(self) -> Groups:
        return Groups(Nodes(Connection(self.servers), {}), 5)

    @contextlib.contextmanager
    def consumer(self, group: str) -> Iterator[Consumer]:
        """Join a group and take all of the topic, as an agent would."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": group,
                "group.protocol": "consumer",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([self.topic])
        try:
            eventually(lambda: consumer.consume(1, 1) and len(consumer.assignment()) == PARTITIONS)
            yield consumer
        finally:
            consumer.close()

    def die(self, group: str, folder: Path) -> str:
        """Let a process join a group and take all of the topic, and kill it; return its member id."""
        words: list[str | Path] = [sys.executable, "-c", MEMBER, self.servers, group, self.topic]
        process = Process("member", words, folder)
        process.start()
        try:
            return eventually(process.lines)[0]
        finally:
            process.kill()


@pytest.fixture
def log(broker: Broker) -> Log:
    if broker.process.pid is None:
        broker.start()
    broker.await_ready()
    return Log(broker)


async def state_of(groups: Groups, name: str, log: Log) -> GroupState | Unknown:
    states, _ = await groups.observe({name: log.partitions}, anew=True)
    return states[name]


async def until_known(groups: Groups, name: str, log: Log, state: str = "") -> GroupState:
    """Wait until a group can be read, and is in this state if one is given."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = await state_of(groups, name, log)
        if isinstance(found, GroupState) and state in ("", found.state):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


def threads() -> list[str]:
    """Return kafka-python's threads, once what only refers to itself is collected."""
    gc.collect()
    return [each.name for each in threading.enumerate() if each.name.startswith("kafka-io")]


def test_each_group_is_told_as_it_is(log: Log) -> None:
    """One at work, one that never was, and one whose topic does not exist, in one read."""

    async def story() -> None:
        working, absent, lost = f"{log.topic}.a", f"{log.topic}.b", f"{log.topic}.c"
        with log.consumer(working) as consumer:
            consumer.commit(offsets=[TopicPartition(log.topic, 1, 2)], asynchronous=False)
            groups = log.groups()
            await until_known(groups, working, log, "Stable")  # once it has told that it knows its partitions
            inputs = {working: log.partitions, absent: log.partitions, lost: [("nowhere", 0)]}
            states, ends = await groups.observe(inputs, [(log.topic, 7)], anew=True)

        known, unborn, unknown = states[working], states[absent], states[lost]
        assert isinstance(known, GroupState)
        assert known.state == "Stable"
        assert [(each.start, each.end, each.committed) for each in known.partitions] == [
            (0, 2, None),
            (0, 2, 2),
            (0, 2, None),
        ]
        assert isinstance(unborn, GroupState)
        assert (unborn.state, [each.committed for each in unborn.partitions]) == ("Dead", [None] * PARTITIONS)
        assert isinstance(unknown, Unknown)
        assert ends.lacks_topic
        assert ends.records_in(log.partitions) == 2 * PARTITIONS

    asyncio.run(story())


def test_a_member_is_removed_and_no_other(log: Log, tmp_path: Path) -> None:
    """Its partitions are somebody else's at once; removing it again does no harm."""
    group = log.topic
    member = log.die(group, tmp_path)

    async def story() -> None:
        groups = log.groups()
        assert (await groups.members(group)).keys() == {member}
        await groups.remove(group, "nobody")
        assert (await groups.members(group)).keys() == {member}

        await groups.remove(group, member)
        assert await groups.members(group) == {}
        await groups.remove(group, member)
        assert await groups.members("no-such-group") == {}

    asyncio.run(story())
    with log.consumer(group):
        pass


def test_groups_are_deleted_and_those_in_use_are_not(log: Log) -> None:
    """The reason is given; a group that is not there needs nothing."""

    async def story() -> None:
        groups, used, left = log.groups(), f"{log.topic}.used", f"{log.topic}.left"
        with log.consumer(left) as consumer:
            consumer.commit(asynchronous=False)
        with log.consumer(used):
            errors = await groups.delete([used, left, "no-such-group"])

        assert errors.keys() == {used}
        state = await state_of(groups, left, log)
        assert isinstance(state, GroupState)
        assert state.state == "Dead"

    asyncio.run(story())


def test_a_broker_that_was_killed_is_read_again_when_it_is_back(log: Log, broker: Broker) -> None:
    """Unknown meanwhile, at once and not after a timeout; nothing has to be restarted."""

    async def story() -> None:
        groups, group = log.groups(), log.topic
        await until_known(groups, group, log)
        broker.kill()
        begun = time.monotonic()
        state = await state_of(groups, group, log)
        assert isinstance(state, Unknown)
        assert state.reason == "KafkaUnreachable"
        assert log.servers in state.message
        for _ in range(20):
            await state_of(groups, group, log)
        assert time.monotonic() - begun < 20 * REQUEST_SECONDS
        broker.restart()  # in this thread: the broker ends with the thread that started it

        await until_known(groups, group, log)

    with capture_logs():
        asyncio.run(story())


def test_a_broker_that_is_frozen_is_waited_for_only_so_long(log: Log, broker: Broker) -> None:
    """Its connections stay open and nobody answers."""

    async def story() -> None:
        groups, group = log.groups(), log.topic
        await until_known(groups, group, log)
        assert broker.process.pid
        os.kill(broker.process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert isinstance(await state_of(groups, group, log), Unknown)
        finally:
            os.kill(broker.process.pid, signal.SIGCONT)
        await until_known(groups, group, log)

    with capture_logs():
        asyncio.run(story())


@pytest.mark.parametrize(
    "servers", ["127.0.0.1:{}", "224.0.0.1:9092", "no-such-host.invalid:9092", "nonsense::::", ""]
)
def test_an_address_without_a_broker_is_an_error_and_leaves_nothing_behind(servers: str) -> None:
    """No thread and no socket; pytest turns an unclosed one into a failure.

    A closed port refuses after a moment, and an address that is no host's cannot even be tried.
    """

    async def story() -> None:
        nodes = Nodes(Connection(servers.format(*free_ports(1))), {})
        for _ in range(3):
            with pytest.raises(KafleetError) as caught:
                await nodes.ask(object())
            assert isinstance(caught.value, KafkaUnreachable)

    with capture_logs() as logs:
        asyncio.run(story())

    assert [line["log_level"] for line in logs] == ["warning"]
    eventually(lambda: threads() == [])


def test_a_server_that_accepts_and_never_speaks_is_waited_for_only_so_long() -> None:
    """kafka-python sets no limit to a TLS handshake."""

    async def story() -> None:
        host, port = silent.getsockname()
        nodes = Nodes(Connection(f"{host}:{port}"), {"security_protocol": "SSL"})
        with pytest.raises(KafkaUnreachable):
            await nodes.ask(object())

    with socket.create_server(("127.0.0.1", 0)) as silent, capture_logs():
        asyncio.run(asyncio.wait_for(story(), DEADLINE_SECONDS))

    eventually(lambda: threads() == [])


def test_a_handshake_that_fails_leaves_no_socket_behind() -> None:
    """Pytest turns an unclosed one into a failure."""

    def refuse(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener is closed in the end
            while True:
                client, _ = listener.accept()
                with client:
                    client.sendall(b"this is no TLS")

    async def story() -> None:
        host, port = listener.getsockname()
        connection = Connection(f"{host}:{port}", tls=Tls())
        nodes = Nodes(connection, kafka_python_settings(connection, {}))
        with pytest.raises(KafkaUnreachable):
            await nodes.ask(object())

    with socket.create_server(("127.0.0.1", 0)) as listener, capture_logs():
        refusing = threading.Thread(target=refuse, args=[listener])
        refusing.start()
        asyncio.run(asyncio.wait_for(story(), DEADLINE_SECONDS))
        listener.shutdown(socket.SHUT_RDWR)
        refusing.join()

    eventually(lambda: threads() == [])


def test_connections_end_with_the_last_who_holds_them(log: Log) -> None:
    """Also their thread."""

    async def story() -> None:
        groups = log.groups()
        await until_known(groups, log.topic, log)
        assert threads()

    asyncio.run(story())

    eventually(lambda: threads() == [])


def test_connections_end_even_if_their_own_thread_is_the_last_to_hold_them(log: Log) -> None:
    """Garbage is collected in whichever thread is at work just then."""
    request = MetadataRequest(topics=[], allow_auto_topic_creation=False, max_version=METADATA_VERSION)

    async def story() -> None:
        nodes = [Nodes(Connection(log.servers), {})]
        await nodes[0].ask(request)
        connections: Any = nodes[0]._connections
        assert threads()
        connections._manager.call_soon(drop, nodes)

    async def drop(nodes: list[Nodes]) -> None:
        nodes.clear()

    asyncio.run(story())

    eventually(lambda: threads() == [])

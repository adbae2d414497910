"""What it costs to read all consumer groups at once, by each client that could, on a real broker.

    make benchmark ROW=groups

Prints, for 1,000 groups of three partitions each: processor and wall time of a read (states, committed
offsets, both ends of every partition), memory, and how each client stands a broker that is killed and comes
back. Figures depend on the machine, ratios hardly: nothing here is asserted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import kafka
import kafka.admin
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from integration.conftest import folder
from integration.servers import Broker

from kafleet_operator.effects.groups import Groups
from kafleet_operator.effects.nodes import Nodes
from kafleet_operator.planning.connections import Connection
from kafleet_operator.planning.observations import GroupState

if TYPE_CHECKING:
    from collections.abc import Callable

GROUPS: Final = 1_000
PARTITIONS: Final = range(3)
READS: Final = 10
SILENCE_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 40.0
NAMES: Final = [f"bench-{number:04}" for number in range(GROUPS)]


def fill(servers: str) -> None:
    """Make the topics, a record in each partition, and the groups that have read it."""
    admin = AdminClient({"bootstrap.servers": servers})
    for begin in range(0, GROUPS, 250):
        new = [NewTopic(name, len(PARTITIONS), 1) for name in NAMES[begin : begin + 250]]
        for created in admin.create_topics(new).values():
            created.result()
    producer = Producer({"bootstrap.servers": servers})
    for name in NAMES:
        for number in PARTITIONS:
            producer.produce(name, b"record", partition=number)
            producer.poll(0)
    producer.flush()
    asked = [
        admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(name, [TopicPartition(name, number, 1) for number in PARTITIONS])]
        )[name]
        for name in NAMES
    ]
    for altered in asked:
        altered.result()


def confluent_kafka(servers: str) -> Callable[[], int]:
    """Read by librdkafka: one call a group, all at once."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0, "metadata.max.age.ms": 5000})
    places = {name: [TopicPartition(name, number) for number in PARTITIONS] for name in NAMES}
    every = [place for wanted in places.values() for place in wanted]

    def read() -> int:
        listed = admin.list_consumer_groups(request_timeout=5)
        asked = [
            admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(name, wanted)], request_timeout=5
            )[name]
            for name, wanted in places.items()
        ]
        ends = [
            admin.list_offsets(dict.fromkeys(every, spec), request_timeout=5)
            for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
        ]
        for future in [listed, *asked, *(one for each in ends for one in each.values())]:
            future.result()
        return len(asked)

    return read


def kafka_python_admin(servers: str) -> Callable[[], int]:
    """Read by kafka-python's admin client as it is."""
    admin = kafka.KafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=5000)
    places = {name: [kafka.TopicPartition(name, number) for number in PARTITIONS] for name in NAMES}
    every = [place for wanted in places.values() for place in wanted]

    def read() -> int:
        admin.list_groups()
        for spec in (kafka.admin.OffsetSpec.EARLIEST, kafka.admin.OffsetSpec.LATEST):
            admin.list_partition_offsets(dict.fromkeys(every, spec))
        return len(admin.list_group_offsets(places))

    return read


def operator(servers: str) -> Callable[[], int]:
    """Read as the operator does: kafka-python's connections and messages, our own batches."""
    runner = asyncio.Runner()
    inputs = {name: [(name, number) for number in PARTITIONS] for name in NAMES}

    async def make() -> Groups:
        return Groups(Nodes(Connection(servers), {}), 5)

    groups = runner.run(make())

    def read() -> int:
        states, _ = runner.run(groups.observe(inputs, anew=True))
        if not all(isinstance(state, GroupState) for state in states.values()):
            raise RuntimeError(str(next(iter(states.values()))))
        return len(states)

    return read


CANDIDATES: Final[dict[str, Callable[[str], Callable[[], int]]]] = {
    "confluent-kafka": confluent_kafka,
    "kafka-python admin": kafka_python_admin,
    "operator": operator,
}


def measure(read: Callable[[], int]) -> dict[str, float]:
    read()
    processor, wall = time.process_time(), time.monotonic()
    for _ in range(READS):
        assert read() == GROUPS
    return {
        "cpu_ms": (time.process_time() - processor) / READS * 1000,
        "wall_ms": (time.monotonic() - wall) / READS * 1000,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def watch(read: Callable[[], int]) -> None:
    """Read again and again, and print a line whenever it begins to fail or to work."""
    works: bool | None = None
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        before, works = works, False
        with contextlib.suppress(Exception):
            works = bool(read())
        if works != before:
            print("works" if works else "fails", flush=True)
        time.sleep(0.1)


def outlive(name: str, broker: Broker) -> str:
    """Kill the broker under a reader, start it again, and say how the reader took it."""
    arguments = [sys.executable, "-m", "benchmarks.group_reads", name, "watch", broker.bootstrap_servers]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as reader:
        assert reader.stdout
        try:
            assert reader.stdout.readline() == "works\n"
            broker.kill()
            killed = time.monotonic()
            noticed = reader.stdout.readline()
            failing = time.monotonic() - killed
            time.sleep(max(0.0, SILENCE_SECONDS - failing))
            broker.restart()
            began = time.monotonic()
            healed = noticed and reader.stdout.readline()
            if not healed:
                return f"ended with status {reader.wait()}"
            return f"failed after {failing:.1f} s, worked {time.monotonic() - began:.1f} s after the broker"
        finally:
            reader.kill()
            broker.restart()


def compare() -> None:
    with folder() as path:
        broker = Broker(Path(path))
        try:
            broker.start()
            broker.await_ready()
            fill(broker.bootstrap_servers)
            print(f"{GROUPS} groups of {len(PARTITIONS)} partitions, {READS} reads each")
            print(
                f"{'client':<20} {'CPU':>9} {'wall':>9} {'memory':>8} {'a core each 5 s':>16}  broker killed"
            )
            for name in CANDIDATES:
                arguments = [sys.executable, "-m", "benchmarks.group_reads", name, "measure"]
                done = subprocess.run(
                    [*arguments, broker.bootstrap_servers], stdout=subprocess.PIPE, text=True, check=True
                )
                found: dict[str, Any] = json.loads(done.stdout)
                print(
                    f"{name:<20} {found['cpu_ms']:>6.0f} ms {found['wall_ms']:>6.0f} ms "
                    f"{found['rss_mb']:>5.0f} MB {found['cpu_ms'] / 5000:>16.1%}  {outlive(name, broker)}",
                    flush=True,
                )
        finally:
            broker.kill()


def main() -> None:
    if len(sys.argv) == 1:
        compare()
        return
    _, name, what, servers = sys.argv
    read = CANDIDATES[name](servers)
    if what == "watch":
        watch(read)
    else:
        print(json.dumps(measure(read)))


if __name__ == "__main__":
    main()

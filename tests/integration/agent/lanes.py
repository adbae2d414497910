"""A lane with topics of its own on a real broker, and its agent processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from integration.asking import remove
from integration.servers import DEADLINE_SECONDS, PATIENCE_SECONDS, Process, eventually

from kafleet.commitmetadata import Progress, progress_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DELIVERY: dict[str, Any] = {
    "guarantee": "AtLeastOnce",
    "ordering": "Key",
    "concurrency": 16,
    "taskTimeoutSeconds": 300,
    "maxAttempts": 3,
    "backoffInitialSeconds": 0.05,
    "backoffMaxSeconds": 0.2,
    "drainTimeoutSeconds": 10,
    "hopLimit": 8,
    "startFrom": "earliest",
}
LARGEST_RECORD = 20 << 20
ECHO = Path(__file__).with_name("echo.py")
"""What agents run: a copy of it is beside a lane's gate."""


class Worker(Process):
    """One `python -m kafleet`. Its log is JSON, a line an event."""

    def __init__(
        self,
        name: str,
        lane: Mapping[str, Any],
        folder: Path,
        variables: Mapping[str, str] | None = None,
        command: Sequence[str | Path] = (sys.executable, "-m", "kafleet"),
    ) -> None:
        lane_file = folder / f"{name}.json"
        lane_file.write_text(json.dumps(lane))
        self.termination_log = folder / f"{name}.termination"
        environment = {
            "KAFLEET_LANE_FILE": str(lane_file),
            "KAFLEET_TERMINATION_LOG": str(self.termination_log),
            "KAFLEET_POD_NAME": name,
            "PYTHONSAFEPATH": "1",
            "PYTHONWARNINGS": "error",
            **(variables or {}),
        }
        super().__init__(name, list(command), folder, environment)

    @property
    def member(self) -> str | None:
        """The member id in the termination log, where the operator looks for it."""
        member: str | None = json.loads(self.termination_log.read_text())["member"]
        return member

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the lines logged so far with that text."""
        parsed = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [line for line in parsed if line["event"] == event]

    def await_event(self, event: str, *, seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
        def look() -> list[dict[str, Any]]:
            self.check()
            return self.events(event)

        return eventually(look, seconds=seconds)[0]

    def get(self, path: str) -> tuple[int, Any]:
        """Ask the HTTP port; returns the status and the body, parsed if it is JSON."""
        port = self.await_event("agent starts")["port"]
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE_SECONDS
            ) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        return status, json.loads(body) if body.startswith(b"{") else body.decode()

    def await_ready(self) -> None:
        def look() -> bool:
            self.check()
            return bool(self.get("readyz")[0] == 200)

        eventually(look)

    def await_in_flight(self, count: int) -> None:
        eventually(lambda: self.get("status")[1]["inFlight"] == count)

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def tell_to_stop(self) -> None:
        self._send(signal.SIGTERM)

    def _send(self, what: signal.Signals) -> None:
        assert self.pid, f"{self.name} does not run"
        os.kill(self.pid, what)


class KafkaLane:
    """Topics `<name>.tasks`, `.results`, `.dead-letters` and the group `<name>`."""

    def __init__(self, bootstrap_servers: str, name: str, folder: Path, partitions: int = 6) -> None:
        self.partitions = partitions
        self.bootstrap_servers = bootstrap_servers
        self.name = name
        self.folder = folder
        self.tasks, self.results, self.dead_letters = (
            f"{name}.{role}" for role in ("tasks", "results", "dead-letters")
        )
        self.workers: list[Worker] = []
        self._old_admins: list[AdminClient] = []
        self._bystander = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": name, "log_level": 0})
        self.admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.max.bytes": LARGEST_RECORD,
                "log_level": 0,
            }
        )
        (folder / ECHO.name).write_text(ECHO.read_text())

    def create(self) -> None:
        """Make the topics, and let members learn quickly what is theirs now.

        The session is Kafka's own: a member that a busy machine stops for a while is not expelled.
        """
        self.create_topics(self.tasks, self.results, self.dead_letters)
        self.configure_group({"consumer.heartbeat.interval.ms": "250"})

    def expel_after(self, seconds: float) -> None:
        """Let the group expel whom it has not heard for so long, where a test waits for that."""
        self.configure_group({"consumer.session.timeout.ms": str(int(seconds * 1_000))})

    def remove(self, worker: Worker) -> None:
        """Take an agent that has joined out of the group, as the operator does with one that died."""
        assert worker.member, f"{worker.name} has not joined"
        remove(self.bootstrap_servers, self.name, worker.member)

    def bury(self, worker: Worker) -> None:
        """Kill an agent that has joined, if it lives, and remove it."""
        worker.kill()
        self.remove(worker)

    def open_gate(self) -> None:
        """Let the tasks go on that are held."""
        (self.folder / "gate-is-open").touch()

    def configure_group(self, configuration: Mapping[str, str]) -> None:
        """Set some of the group's configuration."""
        self._configure(ResourceType.GROUP, self.name, configuration)

    def create_topics(self, *topics: str) -> None:
        wanted = [NewTopic(topic, self.partitions, 1) for topic in topics]
        for created in self.admin.create_topics(wanted).values():
            created.result()
        for topic in topics:
            eventually(lambda topic=topic: self.ends(topic))  # type: ignore[misc]

    def grow(self, partitions: int) -> None:
        """Add partitions to all topics, up to so many."""
        topics = (self.tasks, self.results, self.dead_letters)
        for grown in self.admin.create_partitions(
            [NewPartitions(each, partitions) for each in topics]
        ).values():
            grown.result()
        self.partitions = partitions
        self._renew_admin()
        for topic in topics:
            eventually(lambda topic=topic: self.ends(topic))  # type: ignore[misc]

    def configure_topic(self, topic: str, configuration: Mapping[str, str]) -> None:
        """Set some of a topic's configuration."""
        self._configure(ResourceType.TOPIC, topic, configuration)

    def limit(self, topic: str, max_message_bytes: int) -> None:
        """Set the size of the largest batch that a topic takes."""
        self.configure_topic(topic, {"max.message.bytes": str(max_message_bytes)})

    def _configure(self, kind: ResourceType, name: str, configuration: Mapping[str, str]) -> None:
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in configuration.items()
        ]
        resource = ConfigResource(kind, name, incremental_configs=entries)
        for altered in self.admin.incremental_alter_configs([resource]).values():
            altered.result()

    def worker(self, name: str, *, handler: str = "echo:agent", **delivery: object) -> Worker:
        """Start an agent process."""
        worker = Worker(f"{self.name}-{name}", self.lane_file(handler, **delivery), self.folder)
        worker.start()
        self.workers.append(worker)
        return worker

    def kill(self) -> None:
        """End every agent that was started."""
        for worker in self.workers:
            worker.kill()

    def lane_file(self, handler: str, **delivery: object) -> dict[str, Any]:
        return {
            "version": 1,
            "kind": "AgentGroup",
            "namespace": "test",
            "resource": self.name,
            "lane": "workers",
            "group": self.name,
            "bootstrapServers": self.bootstrap_servers,
            "inputs": [{"role": "tasks", "topic": self.tasks}],
            "outputs": {"results": self.results},
            "output": "results",
            "deadLetters": self.dead_letters,
            "sends": {},
            "agent": {"handler": handler, "codePath": str(self.folder), "config": {}},
            "delivery": {**DELIVERY, **delivery},
            "http": {"port": 0},
        }

    def feed(self, count: int, *, keys: int = 10, start: int = 0, **payload: object) -> None:
        """Write tasks numbered from `start`, key after key, so that each key has rising numbers."""
        for number in range(start, start + count):
            self.write(f"key-{number % keys}".encode(), json.dumps({"number": number, **payload}).encode())

    def write(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        topic: str = "",
    ) -> None:
        self._producer.produce(topic or self.tasks, key=key, value=value, headers=list(headers))
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(PATIENCE_SECONDS) == 0

    def read(self, topic: str) -> list[Message]:
        """Return everything a topic holds now that is committed, partition after partition."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": "reader", "enable.partition.eof": True}
        )
        # What is before these is decided: in the end there may be markers of transactions only.
        left = eventually(lambda: self.ends(topic))
        consumer.assign([TopicPartition(topic, partition, 0) for partition in left])
        found: list[Message] = []

        def has_all() -> bool:
            for message in consumer.consume(1000, 0.2):
                if message.error() is None:
                    found.append(message)
                elif message.offset() >= left.get(message.partition(), 0):
                    left.pop(message.partition(), None)
            return not left

        try:
            eventually(has_all)
        finally:
            consumer.close()
        return sorted(found, key=lambda message: (message.partition(), message.offset()))

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of each partition."""
        wanted = {
            TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(self.partitions)
        }
        listed = self.admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED)
        try:
            return {each.partition: found.result().offset for each, found in listed.items()}
        except KafkaException as error:  # no leader yet, or the broker is away
            self._renew_admin()
            raise AssertionError(str(error)) from None

    def _renew_admin(self) -> None:
        """Begin with new metadata: a client keeps asking with the leader epoch of before a restart."""
        self._old_admins.append(self.admin)  # destroying a client under its futures crashes the process
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def committed(self) -> dict[int, int]:
        """Return the offsets that the group has committed, by partition."""
        return {partition: each.offset for partition, each in self.commits().items()}

    def progress(self) -> dict[int, Progress]:
        """Return what the group has committed to memory above its offsets, by partition."""
        return {
            partition: progress_from(each.offset, each.metadata) for partition, each in self.commits().items()
        }

    def commits(self) -> dict[int, TopicPartition]:
        """Return the group's last commits, by partition.

        Asked by a consumer that never joins: the admin client's `list_consumer_group_offsets` kills the
        process when the coordinator moves or still loads (librdkafka#5040).
        """
        wanted = [TopicPartition(self.tasks, partition) for partition in range(self.partitions)]
        try:
            found = self._bystander.committed(wanted, timeout=10)
        except KafkaException as error:  # the coordinator is away or still loading
            raise AssertionError(str(error)) from None
        return {each.partition: each for each in found if each.offset >= 0}

    def is_done(self) -> bool:
        """Tell whether everything that was fed is committed."""
        for worker in self.workers:
            worker.check()
        ends = {partition: end for partition, end in self.ends(self.tasks).items() if end}
        return {partition: self.committed().get(partition, 0) for partition in ends} == ends

    def await_done(self) -> None:
        eventually(self.is_done)

    def await_results(self, count: int) -> None:
        eventually(lambda: sum(self.ends(self.results).values()) >= count)

    def owned_by(self, worker: Worker) -> set[int]:
        """Return the partitions that a worker says it has."""
        return {each["partition"] for each in worker.get("status")[1]["partitions"]}

    def await_shared(self) -> None:
        """Wait until the agents have every partition between them, and none has more than it should."""

        def look() -> bool:
            owned = [self.owned_by(worker) for worker in self.workers]
            assert sorted(number for some in owned for number in some) == list(range(self.partitions)), owned
            return max(map(len, owned)) - min(map(len, owned)) <= 1

        eventually(look)

    def answers(self) -> dict[bytes, list[int]]:
        """Return the numbers answered by key, in log order, repeats included."""
        answers: dict[bytes, list[int]] = defaultdict(list)
        for message in self.read(self.results):
            answers[message.key()].append(json.loads(message.value())["number"])
        return answers

    def members(self) -> set[str]:
        """Return the member ids of the group."""
        found = self.admin.describe_consumer_groups([self.name])[self.name].result()
        return {member.member_id for member in found.members}


def expected(count: int, keys: int = 10) -> dict[bytes, list[int]]:
    """Return what `answers` must be after `feed(count)` if nothing is repeated."""
    answers: dict[bytes, list[int]] = defaultdict(list)
    for number in range(count):
        answers[f"key-{number % keys}".encode()].append(number)
    return answers


def check_order(answers: Mapping[bytes, list[int]], wanted: Mapping[bytes, list[int]]) -> int:
    """Fail on a lost answer or one that came before its turn; returns how many were repeated."""
    repeated = 0
    for key, numbers in wanted.items():
        seen = 0  # of `numbers`, in their order
        for number in answers.get(key, []):
            turn = numbers.index(number)
            assert turn <= seen, f"{key!r}: {number} came before {numbers[seen]}"
            repeated += turn < seen
            seen = max(seen, turn + 1)
        assert seen == len(numbers), f"{key!r}: {numbers[seen:]} lost"
    return repeated

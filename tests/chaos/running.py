"""Running a schedule: real agent processes on a real broker, with a proxy between them, and the faults."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from chaos.crews import Crew
from chaos.evidence import HEADER, Witness, attempts_in, header_of, rejoins_in
from chaos.facts import EVERYBODY
from chaos.oracle import judge_all
from chaos.piles import Piles
from chaos.schedules import HEARTBEAT_SECONDS, SESSION_SECONDS, What
from confluent_kafka import Consumer, KafkaException, TopicPartition
from integration.agent.lanes import KafkaLane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chaos.crews import Kind
    from chaos.judgements import Judgement
    from chaos.schedules import Fault, Schedule, Task
    from integration.proxies import ProxiedBroker

PARTITIONS: Final = 12
_LOOK_SECONDS: Final = 0.05
_CALL_SECONDS: Final = 1.0
_BETWEEN_FAULTS_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 15.0  # for the share of the work that a fault comes after
_AHEAD: Final = 0.2  # of all records, written before they are needed, but not more than
_MOST_AHEAD: Final = 12_000
_BROKER_SECONDS: Final = 15.0  # from a broker's first answer until all clients are back
_RESET_SECONDS: Final = 5.0  # until all clients have connected again
_LEAVING_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 400.0  # suspects of a killer run one at a time, each after a commit


class Run:
    """One run of a schedule. `say` is told what happens."""

    def __init__(
        self,
        schedule: Schedule,
        broker: ProxiedBroker,
        folder: Path,
        kind: Kind,
        *,
        say: Callable[[str], None],
    ) -> None:
        self._schedule = schedule
        self._broker = broker
        self._say = say
        self._lane = KafkaLane(broker.bootstrap_servers, f"chaos-{schedule.seed}", folder, PARTITIONS)
        self._crew = Crew(self._lane, broker.proxy, kind, say)
        self._tasks: Iterator[Task] = schedule.tasks(is_merciful=kind.is_peer)
        self._written = 0
        self._starting_since: float | None = None  # when the broker went, until it answers again
        self._ends: dict[TopicPartition, int] = {}
        self._observer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "group.id": self._lane.name,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )

    def judgement(self) -> Judgement:
        """Run it to its end, or until it stalls, and judge it."""
        self._prepare()
        try:
            self._disturb()
            self._settle()
        finally:
            self._crew.end()
        for moment in rejoins_in(self._broker.process.log):
            self._crew.note_rejoin(moment)
        if self._broker.proxy.held:
            self._say(f"{self._broker.proxy.held} ends of transactions were held back")
        self._say("judging")
        witness, lane = Witness(self._broker.bootstrap_servers), self._lane
        with Piles(lane.folder, self._schedule.records) as piles:
            piles.add_inputs(witness.inputs(lane.tasks))
            piles.add_answers(witness.answers(lane.results))
            piles.add_dead_letters(witness.dead_letters(lane.dead_letters))
            for journal in lane.folder.glob("*.attempts"):
                piles.add_attempts(attempts_in(journal))
            commits = witness.commits(lane.name, lane.tasks)
            return judge_all(piles.parts(self._crew.absences, self._crew.complaints, commits))

    def _prepare(self) -> None:
        self._lane.create()
        self._lane.configure_group(
            {
                "consumer.session.timeout.ms": str(int(SESSION_SECONDS * 1_000)),
                "consumer.heartbeat.interval.ms": str(int(HEARTBEAT_SECONDS * 1_000)),
            }
        )
        for topic in (self._lane.results, self._lane.dead_letters):
            self._lane.configure_topic(topic, {"message.timestamp.type": "LogAppendTime"})
        for _ in range(self._schedule.workers):
            self._crew.start()

    def _disturb(self) -> None:
        for fault in self._schedule.faults:
            self._write(fault.share + min(_AHEAD, _MOST_AHEAD / self._schedule.records))
            begun = time.monotonic()
            while time.monotonic() < begun + _BETWEEN_FAULTS_SECONDS or (
                self._done() < fault.share * self._schedule.records
                and time.monotonic() < begun + _LONGEST_WAIT_SECONDS
            ):
                self._look()
            self._say(str(fault))
            self._apply(fault)
        self._write(1.0)

    def _apply(self, fault: Fault) -> None:
        match fault.what:
            case What.BROKER_RESTART | What.BROKER_KILL:
                self._take_broker_away(fault)
            case What.CUT_ALL:
                self._crew.note(EVERYBODY, time.monotonic(), _RESET_SECONDS)
                self._broker.proxy.cut()
            case What.SCALE:
                self._crew.scale(fault.workers)
            case _:
                self._crew.disturb(fault)

    def _take_broker_away(self, fault: Fault) -> None:
        began = time.monotonic()
        self._crew.note(EVERYBODY, began, _BROKER_SECONDS)
        if fault.what == What.BROKER_KILL:
            self._broker.kill()
        else:
            self._broker.stop()

        def bring_back() -> None:
            self._broker.start()
            self._starting_since = began

        self._crew.later(fault.seconds, bring_back)

    def _note_broker(self) -> None:
        """Note a broker's absence once it answers again, however long it took to start."""
        if self._starting_since is not None:
            self._crew.note(EVERYBODY, self._starting_since, _BROKER_SECONDS)
            self._starting_since = None

    def _settle(self) -> None:
        """Wait until all is committed, and then stop everybody in good order."""
        deadline = time.monotonic() + _SETTLE_SECONDS + self._schedule.records / 500
        while not self._crew.is_calm() or self._left():
            self._look()
            if time.monotonic() > deadline:
                self._crew.complaints.append(f"it stalls: not committed, by partition, {self._left()}")
                break
        for hand in list(self._crew.working):
            self._crew.terminate(hand)
        deadline = time.monotonic() + _LEAVING_SECONDS
        while not self._crew.is_calm():
            self._look()
            assert time.monotonic() < deadline, "a process that was told to stop does not end"

    def _look(self) -> None:
        self._crew.look()
        time.sleep(_LOOK_SECONDS)

    # Records

    def _write(self, share: float) -> None:
        """Write tasks until so large a share of them is there."""
        while self._written < min(1.0, share) * self._schedule.records:
            task = next(self._tasks)
            headers = [(HEADER, header_of(task.key, task.sequence, is_poison=task.is_poison))]
            if task.is_blocking:
                headers.append(("ce_type", b"blocking"))
            self._lane.write(task.key.encode() or None, task.value, headers)
            self._written += 1

    def _done(self) -> int:
        """Count answers and dead letters, repeats included; what was known last if the broker is away."""
        for topic in (self._lane.results, self._lane.dead_letters):
            for number in range(PARTITIONS):
                partition = TopicPartition(topic, number)
                try:
                    self._ends[partition] = self._end(partition)
                except KafkaException:
                    return sum(self._ends.values())
        return sum(self._ends.values())

    def _left(self) -> dict[int, int]:
        """Count what is not committed, by partition; nothing is left when all of it is."""
        try:
            self._lane.flush()
            committed = self._lane.committed()
            ends = {
                number: self._end(TopicPartition(self._lane.tasks, number)) for number in range(PARTITIONS)
            }
        except (AssertionError, KafkaException):
            return dict.fromkeys(range(PARTITIONS), -1)  # nobody can say
        left = {number: end - committed.get(number, 0) for number, end in ends.items()}
        return {number: count for number, count in left.items() if count}

    def _end(self, partition: TopicPartition) -> int:
        _, end = self._observer.get_watermark_offsets(partition, timeout=_CALL_SECONDS)
        self._note_broker()
        return int(end)

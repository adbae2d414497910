"""Who reads when: the event loop what is there, somebody else waits for what comes."""

from __future__ import annotations

import asyncio
import math

from virtual import run, until

from kafleet.fetching import Batch
from kafleet.intakes import Intake
from kafleet.records import Partition, Record

PARTITION = Partition("tasks", 0)
FIRST = Batch((Record(PARTITION, 0, None, None),), {})


class Log:
    """Records to be read; reading fails once `error` is set."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.error: Exception | None = None
        self.times: list[float] = []  # of reads
        self.taken: list[int] = []  # records, by batch
        self.idle = 0
        self.failures: list[str] = []
        self.intake = Intake(self, self._take, idle=self._idle, fail=self.failures.append)

    def read(self, most: int) -> Batch:
        self.times.append(asyncio.get_running_loop().time())
        if self.error is not None:
            raise self.error
        count = min(most, self.left)
        self.left -= count
        return Batch([Record(PARTITION, number, None, None) for number in range(count)], {})

    def _take(self, batch: Batch) -> None:
        self.taken.append(len(batch.records))

    def _idle(self) -> None:
        self.idle += 1


def test_all_there_is_is_taken_and_then_it_is_somebody_elses_turn() -> None:
    async def story() -> None:
        log = Log(1_050)
        log.intake.begin(FIRST)
        await until(1.0)
        assert sum(log.taken) == 1_051
        assert log.idle == 1

    run(story())


def test_little_is_taken_at_a_time_unless_that_is_not_enough() -> None:
    """What is read is worked on while it is in the cache; but who works faster must not wait for it."""

    async def story() -> None:
        log = Log(10_000)
        log.intake.begin(FIRST)
        for _ in range(8):
            await asyncio.sleep(0)
        assert log.taken == [1, 50, 100, 200, 400, 800, 1_000, 1_000, 1_000]
        log.intake.pace(math.inf)  # it was enough
        log.intake.pace(0.0)
        await asyncio.sleep(0)
        assert log.taken[9:] == [50]

    run(story())


def test_others_on_the_event_loop_have_their_turns_between_batches() -> None:
    async def story() -> None:
        log = Log(1_000)
        log.intake.begin(FIRST)
        for turns in range(1, 6):
            await asyncio.sleep(0)
            assert len(log.times) == turns

    run(story())


def test_where_a_log_ends_is_something_that_was_read() -> None:
    async def story() -> None:
        log = Log(0)
        log.intake.begin(Batch((), {PARTITION: 5}))
        await until(1.0)
        assert log.taken == [0]
        assert log.idle == 1

    run(story())


def test_nothing_is_read_while_nothing_is_wanted() -> None:
    async def story() -> None:
        log = Log(1_000)
        log.intake.begin(FIRST)
        log.intake.pace(math.inf)
        await until(1.0)
        assert log.times == []
        assert log.idle == 0  # nobody else may read either
        log.intake.pace(0.0)
        await until(2.0)
        assert log.left == 0

    run(story())


def test_a_pace_leaves_time_between_batches_that_are_larger_then() -> None:
    async def story() -> None:
        log = Log(3_000)
        log.intake.begin(FIRST)
        await asyncio.sleep(0)
        log.intake.pace(0.1)
        await until(0.25)
        assert log.times == [0.0, 0.1, 0.2]
        assert log.taken == [1, 50, 1_000, 1_000]

    run(story())


def test_the_pace_is_kept_from_one_turn_to_the_next() -> None:
    async def story() -> None:
        log = Log(0)
        log.intake.pace(math.inf)
        log.intake.begin(FIRST)
        await until(1.0)
        assert log.times == []

    run(story())


def test_changes_of_the_pace_never_lead_to_two_readers() -> None:
    async def story() -> None:
        log = Log(1_000)
        log.intake.begin(FIRST)
        for pace in (0.0, 0.1, 0.0, math.inf, 0.0):
            log.intake.pace(pace)
        await asyncio.sleep(0)
        assert len(log.times) == 1
        await until(1.0)
        log.intake.pace(0.0)  # nobody's turn here
        await until(2.0)
        assert log.idle == 1

    run(story())


def test_a_client_that_fails_ends_the_process_instead_of_falling_silent() -> None:
    async def story() -> None:
        log = Log(0)
        log.error = RuntimeError("broken")
        log.intake.begin(FIRST)
        await until(1.0)
        assert log.failures == ["records cannot be read: broken"]

    run(story())

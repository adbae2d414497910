"""The dead are removed once, at once, and what became of their work is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs
from virtual import run, until

from kafleet_operator.effects.recovering import TAKEOVER_SECONDS, Recoverer
from kafleet_operator.errors import KafkaUnreachable
from kafleet_operator.planning.recoveries import Death

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

GROUP = "support.triage.workers"
DEATH = Death(GROUP, "dead", "triage-workers-x", "Crashed", "2026-11-23T09:00:00Z")
HELD = (("tasks", 0), ("tasks", 1))


class Scene:
    """A group of two, one of them dead; `heirs` take over when it is removed. `asked` notes each removal."""

    def __init__(self) -> None:
        self.group: dict[str, tuple[tuple[str, int], ...]] = {"dead": HELD, "alive": (("tasks", 2),)}
        self.takes_over = True
        self.failure: Exception | None = None
        self.removed: list[str] = []
        self.woken = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.recoverer = Recoverer(self._spawn, self._wake)

    def recover(self) -> None:
        groups: Any = self
        self.recoverer.recover([DEATH], groups)

    async def members(self, group: str) -> dict[str, tuple[tuple[str, int], ...]]:
        assert group == GROUP
        if self.failure:
            raise self.failure
        return self.group

    async def remove(self, group: str, member_id: str) -> None:
        assert group == GROUP
        self.removed.append(member_id)
        held = self.group.pop(member_id)
        if self.takes_over:
            self.group["alive"] += held

    async def committed(
        self, group: str, partitions: Iterable[tuple[str, int]]
    ) -> dict[tuple[str, int], int | None]:
        assert group == GROUP
        return {partition: {("tasks", 0): 4711}.get(partition) for partition in partitions}

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(coroutine))

    def _wake(self) -> None:
        self.woken += 1


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def perform() -> None:
        await story(Scene())

    with capture_logs():
        run(perform())


def test_a_dead_member_is_removed_once_and_told_until_the_status_has_it() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(3):
            scene.recover()
        await until(1)
        scene.recover()
        await until(2)

        assert scene.removed == ["dead"]
        (recovery,) = scene.recoverer.news
        assert recovery.death == DEATH
        assert recovery.seconds is not None
        assert recovery.resumed_from == ((HELD[0], 4711), (HELD[1], None))
        assert scene.woken == 1
        scene.recoverer.told([recovery])
        assert scene.recoverer.news == ()

    play(story)


def test_who_is_not_in_the_group_any_more_is_no_recovery() -> None:
    """It left, timed out, or was removed by the operator that ran before."""

    async def story(scene: Scene) -> None:
        del scene.group["dead"]
        scene.recover()
        await until(1)

        assert scene.removed == []
        assert scene.recoverer.news == ()

    play(story)


def test_a_removal_that_failed_is_tried_again() -> None:
    """Also after a defect; nothing is told of it."""

    async def story(scene: Scene) -> None:
        for failure in (KafkaUnreachable("no broker answers"), ZeroDivisionError("boom")):
            scene.failure = failure
            scene.recover()
            await until(asyncio.get_running_loop().time() + 1)
            assert not scene.recoverer.news
        scene.failure = None
        scene.recover()
        await until(5)

        assert scene.removed == ["dead"]
        assert len(scene.recoverer.news) == 1

    play(story)


def test_work_that_nobody_takes_is_told_after_a_minute_without_seconds() -> None:
    """A group whose only agent died has nobody to go on."""

    async def story(scene: Scene) -> None:
        scene.takes_over = False
        scene.recover()
        await until(TAKEOVER_SECONDS - 1)
        assert scene.removed == ["dead"]
        assert not scene.recoverer.news
        await until(TAKEOVER_SECONDS + 1)

        (recovery,) = scene.recoverer.news
        assert recovery.seconds is None

    play(story)


def test_kafka_may_be_away_while_others_take_over() -> None:
    """The member is removed already: it is only watched again later."""

    async def story(scene: Scene) -> None:
        scene.takes_over = False
        scene.recover()
        await until(1)
        scene.failure = KafkaUnreachable("no broker answers")
        await until(5)
        scene.failure = None
        scene.group["alive"] += HELD
        await until(6)

        (recovery,) = scene.recoverer.news
        assert recovery.seconds is not None

    play(story)

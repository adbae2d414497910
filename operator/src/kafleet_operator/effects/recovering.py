"""Taking dead members out of their groups, so that others go on with their work at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from kafleet_operator.errors import KafleetError
from kafleet_operator.planning.recoveries import Recovery, is_served, seconds_since, words_for

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from kafleet_operator.effects.coordinators import Partition
    from kafleet_operator.effects.groups import Groups
    from kafleet_operator.planning.recoveries import Death

    Spawn = Callable[[Coroutine[None, None, None]], None]

log = structlog.get_logger("kafleet.recovering")

# How long others may take to go on; a group without another member may take for ever.
TAKEOVER_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


class Recoverer:
    """Removes the dead of one resource beside its reconciles, which may wait for slower reads.

    `spawn` begins a task that ends with the operator at the latest. `wake` is called after each recovery, and
    `news` keeps it until it was `told`.
    """

    def __init__(self, spawn: Spawn, wake: Callable[[], None]) -> None:
        self._spawn = spawn
        self._wake = wake
        # Removing somebody twice does no harm; this only saves asking again.
        self._seen: set[str] = set()
        self.news: tuple[Recovery, ...] = ()

    def recover(self, deaths: Iterable[Death], groups: Groups) -> None:
        """Begin to remove those who are not being removed yet; failures are tried again when called again."""
        deaths = tuple(deaths)
        self._seen &= {death.member for death in deaths}
        for death in deaths:
            if death.member not in self._seen:
                self._seen.add(death.member)
                self._spawn(self._recover(death, groups))

    def told(self, recoveries: Iterable[Recovery]) -> None:
        """Forget recoveries: the status has them."""
        told = set(recoveries)
        self.news = tuple(recovery for recovery in self.news if recovery not in told)

    async def _recover(self, death: Death, groups: Groups) -> None:
        try:
            recovery = await self._remove(death, groups)
        except KafleetError as error:
            log.warning("cannot remove a dead agent; trying again", agent=death.agent, error=str(error))
            self._seen.discard(death.member)
        except Exception:
            log.exception("cannot remove a dead agent; trying again", agent=death.agent)
            self._seen.discard(death.member)
        else:
            if recovery:
                log.info("removed a dead agent from its group", note=words_for(recovery))
                self.news += (recovery,)
                self._wake()

    async def _remove(self, death: Death, groups: Groups) -> Recovery | None:
        held = (await groups.members(death.group)).get(death.member)
        if held is None:
            return None  # it left, or its session is over
        await groups.remove(death.group, death.member)
        committed, seconds = await asyncio.gather(
            groups.committed(death.group, held), _seconds_until_taken(groups, death, held)
        )
        return Recovery(death, seconds, tuple(sorted(committed.items())))


async def _seconds_until_taken(
    groups: Groups, death: Death, partitions: tuple[Partition, ...]
) -> float | None:
    """Wait until others hold partitions; return how long after the death that was, None if it was not."""
    deadline = asyncio.get_running_loop().time() + TAKEOVER_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        try:
            if is_served(partitions, await groups.members(death.group)):
                return seconds_since(death.at, datetime.now(UTC))
        except KafleetError as error:
            log.warning(
                "cannot see who goes on with a dead agent's work", agent=death.agent, error=str(error)
            )
        await asyncio.sleep(POLL_SECONDS)
    return None

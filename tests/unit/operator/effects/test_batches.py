"""What many want to know is read together, once in a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from virtual import run, until

from kafleet_operator.effects.batches import FORGET_SECONDS, Batches

if TYPE_CHECKING:
    from collections.abc import Collection


class Source:
    """Values that tell when they were read; a read takes `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[str]] = []

    async def read(self, keys: Collection[str]) -> dict[str, float]:
        self.batches.append(sorted(keys))
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self.seconds)
        return dict.fromkeys(keys, now)


def test_many_who_look_each_five_seconds_cost_one_read_in_that_time() -> None:
    """Whenever each of them looks; and nobody gets a value that is older than four seconds."""

    async def story() -> Source:
        source = Source(0.05)
        batches = Batches(source.read, 4.0)

        async def look(number: int) -> None:
            for moment in range(8):
                await until(5 * moment + number / 50)
                now = asyncio.get_running_loop().time()
                (read_at,) = (await batches.get([f"group-{number}"])).values()
                assert read_at >= now - 4.0

        await asyncio.gather(*map(look, range(250)))
        return source

    source = run(story())

    # The first round comes one by one; afterwards nobody is read alone.
    later = source.batches[251:]
    assert len(later) <= 40 / 4
    assert all(len(batch) == 250 for batch in later)


def test_a_fresh_value_is_not_one_that_was_being_read_already() -> None:
    """A read that began before the question may have missed what the question is about."""

    async def story() -> None:
        source = Source(1.0)
        batches = Batches(source.read, 4.0)
        first = asyncio.create_task(batches.get(["group"]))
        await until(0.5)
        values = await batches.get(["group"], anew=True)

        assert values == {"group": 1.0}
        assert await first == {"group": 0.0}
        assert len(source.batches) == 2

    run(story())


def test_fresh_wishes_of_many_are_one_read() -> None:
    """Whoever asks at the same time."""

    async def story() -> None:
        source = Source(1.0)
        batches = Batches(source.read, 4.0)
        await asyncio.gather(*(batches.get([f"group-{number}"], anew=True) for number in range(50)))

        assert [len(batch) for batch in source.batches] == [50]

    run(story())


def test_who_gives_up_waiting_takes_nothing_from_others() -> None:
    """A reconcile that is cut off leaves the read to those who still wait."""

    async def story() -> None:
        source = Source(1.0)
        batches = Batches(source.read, 4.0)
        impatient = asyncio.create_task(batches.get(["group"]))
        patient = asyncio.create_task(batches.get(["group"]))
        await until(0.5)
        impatient.cancel()

        assert await patient == {"group": 0.0}
        assert len(source.batches) == 1

    run(story())


def test_a_defect_is_everybodys_and_the_next_read_begins_anew() -> None:
    """Nobody waits for ever."""

    async def story() -> None:
        source = Source()

        async def read(keys: Collection[str]) -> dict[str, float]:
            if not source.batches:
                source.batches.append([])
                raise ZeroDivisionError
            return await source.read(keys)

        batches = Batches(read, 4.0)
        with pytest.raises(ZeroDivisionError):
            await batches.get(["group"])
        assert await batches.get(["group"]) == {"group": 0.0}

    run(story())


def test_what_nobody_wants_any_more_is_not_read_along() -> None:
    """The group of a fleet that is gone."""

    async def story() -> None:
        source = Source()
        batches = Batches(source.read, 4.0)
        await batches.get(["gone", "stays"])
        await until(5)
        await batches.get(["stays"])
        await until(FORGET_SECONDS + 1)
        await batches.get(["stays"])

        assert source.batches == [["gone", "stays"], ["gone", "stays"], ["stays"]]
        assert batches._values.keys() == {"stays"}

    run(story())

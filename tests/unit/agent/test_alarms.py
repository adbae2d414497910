"""Time limits end what is over them, and nothing else: in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from virtual import run

from kafleet.alarms import Alarms, TimedOut


async def sleep(alarms: Alarms, limit: float, seconds: float) -> float:
    """Sleep under a limit; returns when it ended, or raises TimedOut."""
    with alarms.within(limit):
        await asyncio.sleep(seconds)
    return asyncio.get_running_loop().time()


def test_each_ends_at_its_own_limit_usual_or_not() -> None:
    async def story() -> list[float | str]:
        alarms = Alarms(10)
        pairs = [(10, 3), (10, 50), (2, 50), (10, 9.9), (30, 20)]
        begun = [asyncio.create_task(sleep(alarms, limit, seconds)) for limit, seconds in pairs]
        await asyncio.sleep(5)
        begun.append(asyncio.create_task(sleep(alarms, 10, 50)))
        await asyncio.sleep(9.9)
        assert [task.done() for task in begun] == [True, True, True, True, False, False]
        ended = await asyncio.gather(*begun, return_exceptions=True)
        assert not alarms._usual
        return [round(each, 1) if isinstance(each, float) else str(each) for each in ended]

    late = "no result within 10 s"
    assert run(story()) == [3.0, late, "no result within 2 s", 9.9, 20.0, late]


def test_one_timer_serves_them_all() -> None:
    async def story() -> int:
        alarms = Alarms(10)
        tasks = [asyncio.create_task(sleep(alarms, 10, 1)) for _ in range(100)]
        await asyncio.sleep(0.5)
        timers = sum(not timer.cancelled() for timer in asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]
        await asyncio.gather(*tasks)
        return int(timers) - 100  # those of the sleeps

    assert run(story()) == 1


def test_who_ends_in_spite_of_the_alarm_has_ended() -> None:
    async def stubborn(alarms: Alarms) -> str:
        with alarms.within(1):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "done"
        return "never"

    async def story() -> tuple[str, int]:
        task = asyncio.create_task(stubborn(Alarms(1)))
        return await task, task.cancelling()

    assert run(story()) == ("done", 0)


def test_a_cancellation_from_outside_goes_on_although_the_alarm_rang_as_well() -> None:
    async def story() -> None:
        task = asyncio.create_task(sleep(Alarms(1), 1, 60))
        asyncio.get_running_loop().call_later(1, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story())


def test_an_error_of_its_own_is_no_time_out() -> None:
    async def story() -> None:
        with Alarms(1).within(1):
            raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        run(story())
    assert not issubclass(TimedOut, TimeoutError)

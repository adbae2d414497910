"""What many ask for within a moment is one request, and nobody pays for another's trouble."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from virtual import run

from kafleet_operator.effects.batches import GATHER_SECONDS, Bundles
from kafleet_operator.errors import KafkaUnreachable, KafleetError, TopicRejected

if TYPE_CHECKING:
    from collections.abc import Mapping


class Recorder:
    """Does steps in a second, and remembers which it was given together; a step "bad" is an error."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        self.failure: KafleetError | None = None

    async def do(self, steps: Mapping[str, str]) -> dict[str, str | KafleetError]:
        self.requests.append(dict(steps))
        await asyncio.sleep(1)
        if self.failure:
            raise self.failure
        return {name: TopicRejected(name) if step == "bad" else f"did {step}" for name, step in steps.items()}


def recorded(story: Any) -> Recorder:  # noqa: ANN401 - an async function of a recorder and its bundles
    recorder = Recorder()
    run(story(recorder, Bundles(recorder.do)))
    return recorder


def test_steps_of_a_hundred_are_one_request_and_each_gets_its_own_answers() -> None:
    """A failure stays with its step."""

    async def story(_recorder: Recorder, bundles: Bundles[str, Any]) -> None:
        asked = [bundles.ask({f"{n}-a": f"{n}", f"{n}-b": "bad" if n == 7 else "b"}) for n in range(100)]
        answers = await asyncio.gather(*asked)
        assert [list(answer) for answer in answers] == [[f"{n}-a", f"{n}-b"] for n in range(100)]
        assert answers[7]["7-a"] == "did 7"
        assert type(answers[7]["7-b"]) is TopicRejected
        assert answers[8]["8-b"] == "did b"

    assert [len(request) for request in recorded(story).requests] == [200]


def test_who_comes_later_is_not_kept_waiting_by_those_before() -> None:
    """A request that is under way is not waited for."""

    async def story(_recorder: Recorder, bundles: Bundles[str, Any]) -> None:
        first = asyncio.create_task(bundles.ask({"a": "1"}))
        await asyncio.sleep(GATHER_SECONDS * 2)
        assert await bundles.ask({"b": "2"}) == {"b": "did 2"}
        assert await first == {"a": "did 1"}

    assert recorded(story).requests == [{"a": "1"}, {"b": "2"}]


def test_two_wishes_for_one_name_are_two_requests() -> None:
    """And equal ones are one."""

    async def story(_recorder: Recorder, bundles: Bundles[str, Any]) -> None:
        answers = await asyncio.gather(*(bundles.ask({"a": step}) for step in ("1", "1", "2")))
        assert answers == [{"a": "did 1"}, {"a": "did 1"}, {"a": "did 2"}]

    assert recorded(story).requests == [{"a": "1"}, {"a": "2"}]


def test_what_fails_as_a_whole_fails_for_all_and_not_for_ever() -> None:
    """The next request is another one."""

    async def story(recorder: Recorder, bundles: Bundles[str, Any]) -> None:
        recorder.failure = KafkaUnreachable("nobody answers")
        told = await asyncio.gather(bundles.ask({"a": "1"}), bundles.ask({"b": "2"}), return_exceptions=True)
        assert all(each is recorder.failure for each in told)
        recorder.failure = None
        assert await bundles.ask({"a": "1"}) == {"a": "did 1"}

    recorded(story)


def test_who_is_cut_off_cuts_off_nobody_else() -> None:
    """A reconcile that takes too long is cancelled; what it asked for is done with the rest."""

    async def story(_recorder: Recorder, bundles: Bundles[str, Any]) -> None:
        patient = asyncio.create_task(bundles.ask({"a": "1"}))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await bundles.ask({"b": "2"})
        assert await patient == {"a": "did 1"}

    assert recorded(story).requests == [{"a": "1", "b": "2"}]

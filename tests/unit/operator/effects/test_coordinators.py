"""The process that asks coordinators may end at any moment: the question fails, the next one is asked."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from kafleet_operator.effects.coordinators import Coordinators
from kafleet_operator.errors import KafkaUnreachable

NOWHERE: dict[str, str | int] = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


def child_of(coordinators: Coordinators) -> int:
    assert coordinators._child
    return coordinators._child._process.pid


def test_errors_are_answers() -> None:
    """Every group gets its own."""

    async def story() -> None:
        answers = await Coordinators(NOWHERE).ask("observe", {"one": [("topic", 0)], "other": []}, 0.2)

        assert {group: answer["error"] for group, answer in answers.items()} == {
            "one": KafkaError._TIMED_OUT,
            "other": KafkaError._TIMED_OUT,
        }

    asyncio.run(story())


def test_a_child_that_is_killed_fails_the_question_and_is_replaced() -> None:
    """At once, not only when the time is over."""

    async def story() -> None:
        coordinators = Coordinators(NOWHERE)
        question = asyncio.create_task(coordinators.ask("observe", {"group": []}, 60))
        await asyncio.sleep(0)
        first = child_of(coordinators)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(KafkaUnreachable):
            await asyncio.wait_for(question, 10)

        assert "error" in (await coordinators.ask("delete", {"group": []}, 0.2))["group"]
        assert child_of(coordinators) != first

    with capture_logs() as logs:
        asyncio.run(story())
    assert [line["log_level"] for line in logs] == ["warning"]


def test_no_child_outlives_its_asker() -> None:
    """It is ended when nobody can ask it any more."""

    async def story() -> int:
        coordinators = Coordinators(NOWHERE)
        await coordinators.ask("observe", {"group": []}, 0.2)
        return child_of(coordinators)

    with capture_logs():
        pid = asyncio.run(story())

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

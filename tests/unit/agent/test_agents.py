"""An agent is plain functions: a test calls them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kafleet import Agent, Context, Result
from kafleet.agents import Send
from kafleet.errors import InvalidAgent

agent = Agent()


@agent.task
async def greet(name: str, ctx: Context) -> str:
    await ctx.send("letters", {"to": name})
    return f"hello {name}, attempt {ctx.attempt}"


def test_a_registered_handler_is_still_the_function_and_needs_no_broker() -> None:
    ctx = Context(id="1")

    assert asyncio.run(greet("Ada", ctx)) == "hello Ada, attempt 1"
    assert ctx.emitted == [Send("letters", {"to": "Ada"}, None, None)]
    assert ctx.correlation_id == "1"


def test_two_handlers_for_one_type_are_refused_where_the_second_is_written() -> None:
    refunds = Agent()

    @refunds.task(type="refund")
    async def one(_task: dict[str, Any]) -> None: ...

    with pytest.raises(InvalidAgent, match=r"two handlers for tasks of type 'refund': .*one' and .*two'"):

        @refunds.task(type="refund")
        async def two(_task: dict[str, Any]) -> None: ...


def test_the_decorator_works_with_and_without_parentheses() -> None:
    mixed = Agent()

    @mixed.task()
    async def rest(_task: dict[str, Any]) -> Result:
        return Result(1)

    assert [task.function for task in mixed.tasks] == [rest]


def test_a_test_may_give_headers_and_there_are_none_without() -> None:
    assert Context(id="1", headers={"tenant": b"a"}).headers == {"tenant": b"a"}
    assert Context(id="1").headers == {}

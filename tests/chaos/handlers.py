"""The agent of a chaos run."""

from __future__ import annotations

from typing import Any

from chaos.work import Rejected, perform, perform_blocking

from kafleet import Agent, Context, Reject

agent = Agent()


@agent.task
async def work(task: dict[str, Any], ctx: Context) -> dict[str, Any]:
    try:
        return await perform(task, ctx.attempt)
    except Rejected:
        raise Reject("as it was asked to") from None


@agent.task(type="blocking")
def block(task: dict[str, Any], ctx: Context) -> dict[str, Any]:
    return perform_blocking(task, ctx.attempt)

"""The agent of the end-to-end tests: squares each task's number, and rejects the numbers it is told to."""

import asyncio
from typing import Any

from kafleet import Agent, Context, Reject

VERSION = 1

agent = Agent()


@agent.task
async def square(task: dict[str, Any], ctx: Context) -> dict[str, Any]:
    number = task["number"]
    await asyncio.sleep(ctx.config["thinkSeconds"])
    if number in ctx.config["rejected"]:
        raise Reject(f"{number} is not wanted")
    return {"number": number, "square": number * number, "version": VERSION}

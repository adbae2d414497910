"""The agent of the end-to-end tests: squares each task's number, and says which edits have reached it.

Numbers in `config.rejected` become dead letters at once, those in `config.failing` after every attempt.
"""

import asyncio
import os
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
    if number in ctx.config.get("failing", []):
        raise RuntimeError(f"{number} fails always")
    seen = {"code": VERSION, "config": ctx.config.get("word"), "env": os.environ.get("WORD")}
    return {"number": number, "square": number * number, "seen": seen}

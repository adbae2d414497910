"""What the tests' agents run. It answers a task with its number, after what the task says shall happen."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from pydantic import BaseModel

from kafleet import Agent, Context, Reject

GATE = Path(__file__).with_name("gate-is-open")


class Task(BaseModel):
    number: int
    seconds: float = 0.0
    is_held: bool = False
    """Whether it waits until the gate is open."""
    failures: int = 0
    is_fatal: bool = False


class Answer(BaseModel):
    number: int
    attempt: int


agent = Agent()
blocking = Agent()


@agent.task
async def answer(task: Task, ctx: Context) -> Answer:
    await asyncio.sleep(task.seconds if ctx.attempt == 1 else 0)
    while task.is_held and not GATE.exists():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.05)
    if task.is_fatal:
        os._exit(3)
    if task.failures < 0:
        raise Reject("no wish to")
    if ctx.attempt <= task.failures:
        raise ValueError(f"attempt {ctx.attempt} of {task.number}")
    return Answer(number=task.number, attempt=ctx.attempt)


@blocking.task
def block(task: Task) -> Answer:
    time.sleep(task.seconds)
    return Answer(number=task.number, attempt=1)

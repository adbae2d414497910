"""The agents under test; `agent.config` says how long a call takes and where the stub server is."""

from __future__ import annotations

import asyncio
from typing import cast

from kafleet import Agent, Context

echo = Agent()
sleeping = Agent()
stumbling = Agent()
calling = Agent()


@echo.task
async def answer(task: bytes) -> bytes:
    return task


@sleeping.task
async def sleep(task: bytes, ctx: Context) -> bytes:
    await asyncio.sleep(ctx.config["seconds"])
    return task


@stumbling.task
async def stumble(task: bytes, ctx: Context) -> bytes:
    """Take no time, but for one record."""
    if task.startswith(ctx.config["slow"].encode()):
        await asyncio.sleep(ctx.config["seconds"])
    return task


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, kept alive, a request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._answered: asyncio.Future[bytes] | None = None
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.rpartition(b" ")[2]):  # the stub writes content-length last
            self._received = b""
            if self._answered is not None and not self._answered.done():
                self._answered.set_result(body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error or ConnectionResetError())

    async def post(self, body: bytes) -> bytes:
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(
            b"POST / HTTP/1.1\r\nhost: stub\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        return await self._answered


idle: list[Connection] = []


@calling.task
async def call(task: bytes, ctx: Context) -> bytes:
    """Ask the stub server over a connection of a pool. A real client would cost several times as much."""
    if idle:
        connection = idle.pop()
    else:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", ctx.config["port"])
    answer = await connection.post(task)
    idle.append(connection)
    return answer

"""The operator's one HTTP port: /healthz, /readyz, /metrics."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kafleet_operator.errors import KafleetError
from kafleet_operator.metrics import LOOP_DELAY, REGISTRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.Response]]

LOOP_CHECK_SECONDS: Final = 0.5


@contextlib.asynccontextmanager
async def served(
    host: str, port: int, *, ills: Callable[[], str], lacks: Callable[[], str]
) -> AsyncIterator[int]:
    """Answer on a port, and yield it (0: any that is free); raises KafleetError if it is taken.

    `ills` says why the process is not healthy and `lacks` why it is not ready, each empty if it is.
    """
    application = web.Application()
    application.add_routes(
        [
            web.get("/healthz", _verdict(ills)),
            web.get("/readyz", _verdict(lacks)),
            web.get("/metrics", _metrics),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise KafleetError(f"cannot listen on KAFLEET_HTTP_PORT {port}: {error.strerror or error}") from error
    watch = asyncio.create_task(watch_loop())
    try:
        yield int(runner.addresses[0][1])
    finally:
        watch.cancel()
        await runner.cleanup()


async def watch_loop() -> None:
    """Measure, for ever, how late the event loop wakes who asked to be woken."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOP_CHECK_SECONDS
        await asyncio.sleep(LOOP_CHECK_SECONDS)
        LOOP_DELAY.observe(max(0.0, loop.time() - due))


def _verdict(reason: Callable[[], str]) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        ill = reason()
        return web.json_response({"ok": not ill, "reason": ill}, status=503 if ill else 200)

    return answer


async def _metrics(_request: web.Request) -> web.Response:
    # In a thread: with a thousand fleets it takes longer than anybody shall wait for the loop.
    body = await asyncio.to_thread(generate_latest, REGISTRY)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

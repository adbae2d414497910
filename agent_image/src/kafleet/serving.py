"""The agent's one HTTP port: /healthz, /readyz, /metrics, /status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kafleet.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry


class Server:
    """Answers for the process; `ills` and `lacks` say why it is not healthy or ready, empty if it is."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        ills: Callable[[], list[str]],
        lacks: Callable[[], list[str]],
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._registry = registry
        self._ills = ills
        self._lacks = lacks
        self._status = status
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> int:
        """Listen, and return the port; 0 means any, on the loopback interface only. Raises StartError."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/status", self._answer_status),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1" if port == 0 else None, port).start()
        except OSError as error:
            raise StartError(f"cannot listen on http.port {port}: {error.strerror or error}") from None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _verdict(self._ills())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._lacks())

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _answer_status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._status())


def _verdict(reasons: list[str]) -> web.Response:
    return web.Response(
        status=503 if reasons else 200,
        content_type="application/json",
        text=json.dumps({"ok": not reasons, "reasons": reasons}),
    )

"""The agent's one HTTP port: /healthz, /readyz, /metrics, /status.

Four answers to whoever asks every few seconds need no web framework: importing one took a third of the
processor time from a process's start until it works, and that is part of every recovery.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kafleet.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

_HEAD_BYTES = 16_384
_PATIENCE_SECONDS = 10.0  # with a client that is slow to ask or to read


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
        self._server: asyncio.Server | None = None
        self._answers: dict[str, Callable[[], _Answer]] = {
            "/healthz": lambda: _verdict(ills()),
            "/readyz": lambda: _verdict(lacks()),
            "/metrics": lambda: _Answer(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST),
            "/status": lambda: _json(HTTPStatus.OK, status()),
        }

    async def start(self, port: int) -> int:
        """Listen, and return the port; 0 means any, on the loopback interface only. Raises StartError."""
        try:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1" if port == 0 else None, port, limit=_HEAD_BYTES
            )
        except OSError as error:
            raise StartError(f"cannot listen on http.port {port}: {error.strerror or error}") from None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        try:
            # OSError: whoever asked has gone. TimeoutError is one, too.
            with suppress(OSError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    answer = await self._answer(reader)
                    writer.write(answer.as_bytes())
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> _Answer:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _json(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, None)
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            return _json(HTTPStatus.BAD_REQUEST, None)
        find = self._answers.get(target.partition("?")[0])
        if find is None:
            return _json(HTTPStatus.NOT_FOUND, None)
        return find() if method == "GET" else _json(HTTPStatus.METHOD_NOT_ALLOWED, None)


class _Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    content_type: str

    def as_bytes(self) -> bytes:
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\nAllow: GET\r\nConnection: close\r\n\r\n"
        )
        return head.encode("latin-1") + self.body


def _json(status: HTTPStatus, content: object) -> _Answer:
    return _Answer(status, json.dumps(content).encode(), "application/json; charset=utf-8")


def _verdict(reasons: list[str]) -> _Answer:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return _json(status, {"ok": not reasons, "reasons": reasons})

"""A server that answers each HTTP request with its body after some seconds: what a slow provider looks like.

    python stub.py SECONDS

Prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

CONNECTIONS = 16_384


class Provider(asyncio.Protocol):
    """One connection, a request at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.rpartition(b" ")[2]):
            self._received = b""
            self._loop.call_later(self._seconds, self._answer, body)

    def _answer(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def serve(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(seconds), "127.0.0.1", 0, backlog=CONNECTIONS)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1])))

"""A TCP proxy between Kafka's clients and a broker that cuts, silences and delays what goes through it.

Connections are told apart by the `client.id` in the requests. It runs in a thread of its own; its methods are
for other threads, and return when what they ask for is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from integration.ports import free_ports
from integration.servers import PATIENCE_SECONDS, Broker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

END_TXN = 26
"""Kafka's key of the request that commits or aborts a transaction."""
_LISTENER = "PROXIED"
_CHUNK_BYTES = 1 << 18
_LATE_SECONDS = 1.0  # a broker drops what it has read of a connection only after it is closed

Returned = TypeVar("Returned")


@dataclass(slots=True, eq=False)
class _Connection:
    down: asyncio.StreamWriter  # to the client
    up: asyncio.StreamWriter  # to the broker
    client: str | None = None  # unknown until the first request

    def abort(self) -> None:
        for writer in (self.down, self.up):
            writer.transport.abort()


@dataclass(slots=True, eq=False)
class _Delay:
    api_key: int
    seconds: float | None  # None: until it is over
    is_over: asyncio.Event
    client: str | None
    times: int

    async def pass_by(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.is_over.wait(), self.seconds)


class Proxy:
    """Listens on `address` and forwards to `upstream`, which need not be there yet; a context manager."""

    def __init__(self, upstream: str, address: str = "127.0.0.1:0") -> None:
        self.address = address
        self.held = 0  # requests that are or were delayed
        self.delayed = 0  # requests that were delivered late
        self._upstream = _parsed(upstream)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gates: defaultdict[str | None, asyncio.Event] = defaultdict(_opened)
        self._delays: list[_Delay] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, client: str | None = None) -> int:
        """Reset the connections of a client, or all; returns how many there were. It may connect again."""
        return self._do(self._cut(client))

    def silence(self, client: str) -> None:
        """Let nothing of a client through any more, in either direction, without telling anybody."""
        self._do(self._silence(client))

    def release(self, client: str, *, is_kept: bool) -> None:
        """End the silence: what was held back arrives now if it `is_kept`, else the connections are reset."""
        self._do(self._release(client, is_kept=is_kept))

    def delay(self, api_key: int, seconds: float, *, client: str | None = None, times: int = 1) -> None:
        """Hold the next requests of a kind, and what follows on their connections, for so long.

        They reach the broker then even if the client has hung up meanwhile.
        """
        self._do(self._delay(api_key, seconds, client, times))

    def hold(self, api_key: int, *, client: str | None = None) -> Callable[[], None]:
        """Hold the next request of a kind as `delay` does, until what is returned is called."""
        held = self._do(self._delay(api_key, None, client, 1))
        return lambda: self._do(_end(held))

    def _do(self, coroutine: Coroutine[Any, Any, Returned]) -> Returned:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_SECONDS)

    # On the proxy's own event loop

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, *_parsed(self.address), limit=_CHUNK_BYTES)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    async def _end(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _cut(self, client: str | None) -> int:
        found = [each for each in self._connections if client in (None, each.client)]
        for connection in found:
            connection.abort()
        return len(found)

    async def _silence(self, client: str) -> None:
        self._gates[client].clear()

    async def _release(self, client: str, *, is_kept: bool) -> None:
        if not is_kept:
            await self._cut(client)
        self._gates[client].set()

    async def _delay(self, api_key: int, seconds: float | None, client: str | None, times: int) -> _Delay:
        self._delays.append(_Delay(api_key, seconds, asyncio.Event(), client, times))
        return self._delays[-1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            answers, upstream = await asyncio.open_connection(*self._upstream, limit=_CHUNK_BYTES)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        connection = _Connection(writer, upstream)
        self._connections.add(connection)
        back = asyncio.create_task(self._answers(connection, answers))
        try:
            # Cancelled it is only when the proxy ends.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._requests(connection, reader)
        finally:
            connection.abort()
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            self._connections.discard(connection)
            self._tasks.discard(task)

    async def _requests(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        while True:
            size = await reader.readexactly(4)
            request = await reader.readexactly(struct.unpack(">i", size)[0])
            connection.client = _client_of(request) or connection.client
            delay = self._delay_of(request, connection.client)
            if delay is not None:
                self.held += 1
                await delay.pass_by()
            await self._gates[connection.client].wait()
            connection.up.write(size + request)
            await connection.up.drain()
            if delay is not None:
                self.delayed += 1
                if reader.at_eof():
                    await asyncio.sleep(_LATE_SECONDS)

    async def _answers(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._gates[connection.client].wait()
                if not connection.down.transport.is_closing():
                    connection.down.write(chunk)
                    await connection.down.drain()
        connection.abort()

    def _delay_of(self, request: bytes, client: str | None) -> _Delay | None:
        (api_key,) = struct.unpack_from(">h", request)
        for delay in self._delays:
            if delay.times and delay.api_key == api_key and delay.client in (None, client):
                delay.times -= 1
                return delay
        return None


class ProxiedBroker(Broker):
    """A broker whose clients go through `proxy`, but for those that know its direct address."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        super().__init__(folder, {_LISTENER: "PLAINTEXT"}, advertised={_LISTENER: address})
        self.proxy = Proxy(self.addresses[_LISTENER], address)

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """Run both; answers are there from the beginning."""
        with self.proxy:
            try:
                self.start()
                self.await_ready()
                yield self
            finally:
                self.kill()


async def _end(delay: _Delay) -> None:
    delay.is_over.set()


def _client_of(request: bytes) -> str | None:
    """Read the client id of a request's header: api key, version, correlation id, client id."""
    (length,) = struct.unpack_from(">h", request, 8)
    return request[10 : 10 + length].decode() if length > 0 else None


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _opened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event

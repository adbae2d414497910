"""The brokers of one Kafka cluster by node id: a request to one of them, its answer or one of our errors.

kafka-python's connections: they ask for many groups at once, and are not librdkafka's, which can end the
whole process when a group's coordinator falls silent (librdkafka#4605, #5040). See decision 0012.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

import structlog

from kafleet_operator.effects.protocol import (
    KafkaConnectionManager,
    KafkaNetSocket,
    NetworkSelector,
    errors,
)
from kafleet_operator.errors import KafkaUnreachable, KafleetError, NotAuthorized, NotFound, Rejected
from kafleet_operator.metrics import KAFKA_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket as Socket  # noqa: N812  it names a class

    from kafleet_operator.planning.connections import Connection

log = structlog.get_logger("kafleet.nodes")

REQUEST_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 3.0
# After nobody could be reached, further requests fail at once for a while.
REST_SECONDS: Final = 2.0
# kafka-python's own time limits leave out TLS handshakes: nothing takes longer than those and this together.
GRACE_SECONDS: Final = 1.0

DENIALS: Final = (
    errors.AuthorizationError,
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
)
ABSENCES: Final = (
    errors.GroupIdNotFoundError,
    errors.UnknownTopicOrPartitionError,
    errors.UnknownMemberIdError,
)
MOVES: Final = (
    errors.NotCoordinatorError,
    errors.CoordinatorNotAvailableError,
    errors.CoordinatorLoadInProgressError,
    errors.NotLeaderForPartitionError,
    errors.LeaderNotAvailableError,
    errors.ReplicaNotAvailableError,
    errors.KafkaStorageError,
)


# What moved is looked for anew, after so many seconds each time: a new topic has no leader for moments.
SEARCHES: Final = (0.0, 0.0, 0.1, 0.2, 0.4, 0.8)


class Moved(KafkaUnreachable):
    """Another node is to be asked, or the same one in a moment; which one must be found out anew."""


class Nodes:
    """One Kafka cluster, connected to when needed, as long as this object lives.

    `settings` are kafka-python's own, for security. Every method raises `KafkaUnreachable`, `NotAuthorized`
    or `Rejected`.
    """

    def __init__(self, connection: Connection, settings: Mapping[str, Any]) -> None:
        self._servers = connection.bootstrap_servers
        self._path = connection.path
        self._configuration = {
            **settings,
            "bootstrap_servers": self._servers,
            "client_id": "kafleet-operator",
            "request_timeout_ms": int(REQUEST_SECONDS * 1000),
            "socket_connection_setup_timeout_ms": int(CONNECT_SECONDS * 1000),
            "socket_connection_setup_timeout_max_ms": int(CONNECT_SECONDS * 1000),
            "reconnect_backoff_max_ms": int(REST_SECONDS * 1000),
            "receive_message_max_bytes": 1 << 28,
            "slow_task_threshold_secs": 0,
            "proxy_url": f"{_Sockets.SCHEMES[0]}:",
        }
        self._connecting = asyncio.Lock()
        self._connections: _Connections | None = None
        self._refusal: KafleetError | None = None
        self._resting_until = 0.0

    async def ask(self, request: Any, node: int | None = None) -> Any:  # noqa: ANN401 - each request has its own answer
        """Return a node's answer, or anyone's."""
        with KAFKA_REQUESTS.timed(_operation(request)):
            return await self._ask(request, node)

    async def _ask(self, request: object, node: int | None) -> Any:  # noqa: ANN401 - each request has its own answer
        connections = await self._connected()
        try:
            async with asyncio.timeout(CONNECT_SECONDS + REQUEST_SECONDS + GRACE_SECONDS):
                return await connections.ask(request, node)
        except (errors.KafkaError, TimeoutError) as error:
            # Who reaches nobody, or is nobody, begins anew: all addresses may have changed, and kafka-python
            # never tries again what was denied once.
            if node is None or isinstance(error, (*DENIALS, TimeoutError)):
                self._drop(connections)
            raise self.translated(error) from error

    def error_of(self, *codes: int) -> KafleetError | None:
        """Return what the first error code in an answer means, None if there is none."""
        code = next(filter(None, codes), 0)
        return self.translated(errors.for_code(code)()) if code else None

    def translated(self, error: Exception) -> KafleetError:
        """Return kafka-python's error as ours."""
        words = f"{type(error).__name__}: {error}"
        if isinstance(error, DENIALS):
            return NotAuthorized(f"Kafka at {self._servers!r} refuses the operator: {words}")
        if isinstance(error, ABSENCES):
            return NotFound(words)
        if isinstance(error, MOVES):
            return Moved(f"Kafka at {self._servers!r} is not ready: {type(error).__name__}")
        if isinstance(error, errors.BrokerResponseError) and not isinstance(error, errors.RetriableError):
            return Rejected(words)
        return KafkaUnreachable(
            f"no broker at {self._servers!r} answers for consumer groups ({type(error).__name__}); "
            f"check {self._path}.bootstrapServers and that Kafka runs"
        )

    async def _connected(self) -> _Connections:
        async with self._connecting:
            if self._connections is None:
                if self._refusal and _now() < self._resting_until:
                    raise type(self._refusal)(str(self._refusal))
                self._connections = await self._connect()
                self._refusal = None
            return self._connections

    async def _connect(self) -> _Connections:
        try:
            connections = _Connections(self._configuration)
            try:
                async with asyncio.timeout(CONNECT_SECONDS + GRACE_SECONDS):
                    await connections.bootstrap()
            except BaseException:
                await asyncio.to_thread(connections.close)
                raise
        # kafka-python raises ValueError for addresses without sense, OSError for files that are not there.
        except (errors.KafkaError, OSError, ValueError) as error:
            if self._refusal is None:
                log.warning("no broker answers for groups", servers=self._servers, cause=str(error))
            self._refusal, self._resting_until = self.translated(error), _now() + REST_SECONDS
            raise self.translated(error) from error
        self._closing = weakref.finalize(self, connections.let_go)
        return connections

    def _drop(self, connections: _Connections) -> None:
        if self._connections is connections:
            self._connections = None
            self._closing.detach()
            asyncio.get_running_loop().run_in_executor(None, connections.close)


class _Sockets(KafkaNetSocket):  # type: ignore[misc]  # untyped
    """Makes connections without a proxy, and closes a socket that cannot be connected.

    kafka-python leaves those to the garbage collector. It finds this class by the scheme of `proxy_url`.
    """

    SCHEMES = ("closing",)

    async def sock_connect(
        self, net: NetworkSelector, sock: Socket, sockaddr: object, timeout_at: float | None = None
    ) -> Any:  # noqa: ANN401 - untyped
        try:
            return await super().sock_connect(net, sock, sockaddr, timeout_at)
        except BaseException:  # GeneratorExit among them: whoever waits is given up
            sock.close()
            raise


class _Network(NetworkSelector):  # type: ignore[misc]  # untyped
    """kafka-python's event loop, which leaves sockets in a handshake to the garbage collector."""

    def is_own_thread(self) -> bool:
        """Tell whether this runs in the loop's own thread, which must not wait for itself."""
        return threading.current_thread() is self._io_thread

    async def wait_read(self, socket: Socket, timeout_at: float | None = None) -> None:
        try:
            await super().wait_read(socket, timeout_at)
        except GeneratorExit:  # whoever waits is given up
            socket.close()
            raise


class _Connections:
    """kafka-python's connections to a cluster, and the thread that they live in."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self._network = _Network(**configuration)
        try:
            self._manager = KafkaConnectionManager(self._network, **configuration)
        except BaseException:
            self._network.close()
            raise
        self._network.start()

    async def bootstrap(self) -> None:
        await self._run(self._manager.bootstrap_async, CONNECT_SECONDS * 1000)

    async def ask(self, request: object, node: int | None) -> Any:  # noqa: ANN401 - each request has its own answer
        return await self._run(self._manager.send, request, node)

    def close(self) -> None:
        """Close everything; may be called twice, from any thread but kafka-python's. Blocks for moments."""
        with contextlib.suppress(RuntimeError, errors.KafkaError):  # it is closed
            self._network.run(self._manager.close)
        self._network.close()

    def let_go(self) -> None:
        """Close everything, whichever thread the garbage collector happens to run in."""
        if self._network.is_own_thread():
            threading.Thread(target=self.close, name="kafka-closing").start()
        else:
            self.close()

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - the function's
        """Call a function in kafka-python's thread, and return what the future that it returns brings."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        def tell(give: Callable[[Any], None], value: object) -> None:
            if not answer.done():
                give(value)

        def pass_on(give: Callable[[Any], None], value: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, give, value)

        try:
            future = self._manager.call_soon(function, *arguments)
        except RuntimeError as error:
            raise errors.KafkaConnectionError(str(error)) from error
        future.add_callback(lambda value: pass_on(answer.set_result, value))
        future.add_errback(lambda error: pass_on(answer.set_exception, error))
        return await answer


def _operation(request: object) -> str:
    """Return what metrics call a request: list_groups for a ListGroupsRequest."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", type(request).__name__.removesuffix("Request")).lower()


def _now() -> float:
    return asyncio.get_running_loop().time()

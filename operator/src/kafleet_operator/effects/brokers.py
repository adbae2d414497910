"""The one door to Kafka: AdminClient's calls without blocking, and every failure is one of our errors."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from kafleet_operator.effects.complaints import REFUSED, cause_of_silence
from kafleet_operator.effects.connections import librdkafka_settings
from kafleet_operator.errors import (
    Denied,
    KafkaUnreachable,
    KafleetError,
    NotAuthorized,
    NotFound,
    Rejected,
    TopicConflict,
    TopicRejected,
)
from kafleet_operator.metrics import KAFKA_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from concurrent.futures import Future

    from kafleet_operator.planning.connections import Connection, SecretKey

log = structlog.get_logger("kafleet.brokers")

K = TypeVar("K")
V = TypeVar("V")

REQUEST_SECONDS: Final = 10.0
# After a request that nobody answered, further ones fail at once for a while; then some may try again, for
# less long, so that what needs no Kafka does not wait for it.
REST_SECONDS: Final = 3.0
PROBE_SECONDS: Final = 3.0
# The scope of questions that any broker can answer.
CLUSTER: Final = "cluster"

# The client's own errors are public; their names begin with an underscore (noqa: SLF001).
UNREACHABLE: Final = {
    *REFUSED,
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError.REQUEST_TIMED_OUT,
}
# Somebody answers that it cannot yet: a broker is starting, or just took over.
UNREADY: Final = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.NOT_CONTROLLER,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
}
DENIED: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
# What an ACL must allow for each request to be answered.
RIGHTS: Final = {
    "create_topics": "Create",
    "create_partitions": "Alter",
    "delete_topics": "Delete",
    "describe_topics": "Describe",
    "describe_configs": "DescribeConfigs",
    "incremental_alter_configs": "AlterConfigs",
}
IMPOSSIBLE: Final = {
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_EXCEPTION,
}
ABSENT: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.GROUP_ID_NOT_FOUND,
}
ANSWERS: Final[dict[int, type[KafleetError]]] = {
    **dict.fromkeys(ABSENT, NotFound),
    **dict.fromkeys(IMPOSSIBLE, TopicRejected),
    KafkaError.TOPIC_ALREADY_EXISTS: TopicConflict,
}


@dataclass(frozen=True, slots=True)
class Silence:
    """Why nobody answered, and until when (the loop's seconds) nobody is asked again."""

    error: KafkaUnreachable | NotAuthorized
    until: float


class Brokers:
    """One Kafka cluster, reached by one AdminClient that is kept as long as this object."""

    def __init__(self, connection: Connection, values: Mapping[SecretKey, str] | None = None) -> None:
        self._connection = connection
        self._servers = connection.bootstrap_servers
        self._complaints: deque[KafkaError] = deque(maxlen=8)
        self._silences: dict[Hashable, Silence] = {}
        configuration: dict[str, object] = {
            **librdkafka_settings(connection, values or {}),
            "client.id": "kafleet-operator",
            "socket.timeout.ms": int(REQUEST_SECONDS * 1000),
            "reconnect.backoff.max.ms": 2000,
            # Also how long a group's coordinator is believed in: after a broker's restart, librdkafka
            # 2.16 waits for the one it remembers until this is over, and every call for the group fails.
            "metadata.max.age.ms": 5000,
            # What it would log about lost connections comes to error_cb, too, and not by the hundred.
            "log_level": 2,
        }
        configuration["error_cb"] = self._complaints.append
        try:
            self._client = AdminClient(configuration, logger=logging.getLogger("librdkafka"))
        except KafkaException as error:
            raise NotAuthorized(
                f"Kafka's client cannot use {connection.path}: {error.args[0].str()}; check its Secrets"
            ) from None

    async def call(
        self,
        operation: str,
        request: Callable[[AdminClient, float], Mapping[K, Future[V]]],
        *,
        scope: Hashable = CLUSTER,
    ) -> dict[K, V | KafleetError]:
        """Send a request, given the client and a timeout in seconds; return a value or an error a key.

        `operation` is what metrics call it. `scope` says whom the silence of those who are asked concerns: by
        default everybody, otherwise only calls of the same scope. Raises `KafkaUnreachable` or
        `NotAuthorized` where nothing at all came back. Never for requests to group coordinators, see `nodes`.
        """
        seconds = self._patience(scope)
        with KAFKA_REQUESTS.timed(operation):
            return self._heard(scope, await self._answers(operation, request, seconds))

    async def _answers(
        self,
        operation: str,
        request: Callable[[AdminClient, float], Mapping[K, Future[V]]],
        seconds: float,
    ) -> dict[K, V | KafleetError]:
        try:
            futures = request(self._client, seconds)
        except KafkaException as error:
            raise self._translated(operation, error.args[0]) from error
        answers = await asyncio.gather(*map(asyncio.wrap_future, futures.values()), return_exceptions=True)
        self._client.poll(0)  # hands librdkafka's log lines and complaints to their callbacks
        return {key: self._value(operation, answer) for key, answer in zip(futures, answers, strict=True)}

    def _patience(self, scope: Hashable) -> float:
        """Return how many seconds to wait for an answer; raise if nobody is to be asked now."""
        for silence in (self._silences.get(CLUSTER), self._silences.get(scope)):
            if silence and _now() < silence.until:
                raise silence.error
        return PROBE_SECONDS if scope in self._silences else REQUEST_SECONDS

    def _heard(self, scope: Hashable, results: dict[K, V | KafleetError]) -> dict[K, V | KafleetError]:
        """Return the results, unless all say that nobody answers: then raise, and remember it for a while."""
        refusals = [
            result
            for result in results.values()
            if isinstance(result, (KafkaUnreachable, NotAuthorized)) and not isinstance(result, Denied)
        ]
        if refusals and len(refusals) == len(results):
            if scope not in self._silences:
                causes = sorted({complaint.str() for complaint in self._complaints})
                log.warning("no broker answers", servers=self._servers, asked=scope, causes=causes)
            self._silences[scope] = Silence(refusals[0], _now() + REST_SECONDS)
            raise refusals[0]
        self._silences.pop(scope, None)
        self._complaints.clear()
        return results

    def _value(self, operation: str, answer: V | BaseException) -> V | KafleetError:
        if isinstance(answer, KafkaException):
            return self._translated(operation, answer.args[0])
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _translated(self, operation: str, error: KafkaError) -> KafleetError:
        if error.code() in DENIED:
            right = RIGHTS.get(operation, operation)
            return Denied(f"no ACL allows the operator {right}; grant it, see Security in docs/operations.md")
        if answer := ANSWERS.get(error.code()):
            return answer(error.str())
        if error.code() in UNREADY:
            return KafkaUnreachable(f"Kafka at {self._servers!r} is not ready: {error.name()}")
        if error.code() in UNREACHABLE:
            return cause_of_silence(self._complaints, self._connection)
        return Rejected(f"{error.name()}: {error.str()}")


def _now() -> float:
    return asyncio.get_running_loop().time()

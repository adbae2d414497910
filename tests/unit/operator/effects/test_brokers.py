"""Kafka's errors become ours, one a key, and a silent cluster is not asked again and again."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs
from virtual import run, until

from kafleet_operator.effects.brokers import (
    CLUSTER,
    PROBE_SECONDS,
    REQUEST_SECONDS,
    REST_SECONDS,
    Brokers,
)
from kafleet_operator.errors import (
    Denied,
    KafkaUnreachable,
    KafleetError,
    NotFound,
    Rejected,
    TopicConflict,
    TopicRejected,
)
from kafleet_operator.planning.connections import Connection

NOWHERE = Connection("127.0.0.1:1")
TIMED_OUT = KafkaError._TIMED_OUT


def answered(value: object) -> Future[Any]:
    """Return a future that has ended, with a value or with Kafka's error code."""
    future: Future[Any] = Future()
    if isinstance(value, int):
        future.set_exception(KafkaException(KafkaError(value)))
    else:
        future.set_result(value)
    return future


def call(**answers: object) -> dict[str, Any]:
    """Make a call that Kafka answers as given, by key."""
    return run(Brokers(NOWHERE).call("look", lambda _client, _seconds: futures(answers)))


def futures(answers: dict[str, object]) -> dict[str, Future[Any]]:
    return {key: answered(value) for key, value in answers.items()}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, NotFound),
        (KafkaError.GROUP_ID_NOT_FOUND, NotFound),
        (KafkaError.TOPIC_ALREADY_EXISTS, TopicConflict),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Denied),
        (KafkaError.INVALID_CONFIG, TopicRejected),
        (KafkaError.INVALID_REPLICATION_FACTOR, TopicRejected),
        (KafkaError.NON_EMPTY_GROUP, Rejected),
        (KafkaError._TRANSPORT, KafkaUnreachable),
        (KafkaError.NOT_COORDINATOR, KafkaUnreachable),
    ],
)
def test_each_error_is_the_result_of_its_own_key(code: int, error: type[KafleetError]) -> None:
    """What worked is not hidden by what did not."""
    with capture_logs():
        results = call(fine="value", wrong=code)

    assert results["fine"] == "value"
    assert type(results["wrong"]) is error


def test_silence_is_one_error_for_all() -> None:
    """It names the address and the way out, and is the same each time."""
    with capture_logs(), pytest.raises(KafkaUnreachable) as caught:
        call(one=TIMED_OUT, other=TIMED_OUT)

    assert str(caught.value) == (
        "no broker at '127.0.0.1:1' answers; check connection.bootstrapServers and that Kafka runs"
    )


def test_after_silence_calls_fail_at_once_for_a_while_and_then_try_for_less_long() -> None:
    """So that reconciles of many fleets do not wait for one dead broker, and see it come back."""

    async def story() -> None:
        brokers, timeouts = Brokers(NOWHERE), list[float]()

        async def attempt(answer: object) -> bool:
            def request(_client: object, seconds: float) -> dict[str, Future[Any]]:
                timeouts.append(seconds)
                return {"topic": answered(answer)}

            try:
                await brokers.call("look", request)
            except KafkaUnreachable:
                return False
            return True

        assert not await attempt(TIMED_OUT)
        assert not await attempt("not even asked")
        assert timeouts == [REQUEST_SECONDS]
        await until(REST_SECONDS)
        assert await attempt("value")
        assert await attempt("value")
        assert timeouts == [REQUEST_SECONDS, PROBE_SECONDS, REQUEST_SECONDS]

    with capture_logs():
        run(story())


def test_a_topic_that_is_denied_silences_nobody() -> None:
    """Somebody answered, and the next question may be about another topic."""

    async def story() -> None:
        brokers = Brokers(Connection("127.0.0.1:1"))
        denied = {"topic": KafkaError.TOPIC_AUTHORIZATION_FAILED}
        answer = await brokers.call("describe", lambda _client, _seconds: futures(denied))
        assert type(answer["topic"]) is Denied
        answer = await brokers.call("describe", lambda _client, _seconds: futures({"other": "value"}))
        assert answer == {"other": "value"}

    run(story())


def test_a_silent_coordinator_silences_nobody_else() -> None:
    """One broker of many may be down: only what it alone can answer is not asked again for a while."""

    async def story() -> None:
        brokers = Brokers(NOWHERE)
        with pytest.raises(KafkaUnreachable):
            await brokers.call("look", lambda _client, _seconds: futures({"one": TIMED_OUT}), scope="one")
        with pytest.raises(KafkaUnreachable):
            await brokers.call("look", lambda _client, _seconds: futures({"one": "value"}), scope="one")

        for scope in ("other", CLUSTER):
            answer = await brokers.call(
                "look", lambda _client, _seconds: futures({"key": "value"}), scope=scope
            )
            assert answer == {"key": "value"}

    with capture_logs():
        run(story())

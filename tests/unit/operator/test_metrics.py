"""What is counted is what happened."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from kafleet_operator.errors import NotFound
from kafleet_operator.metrics import API_REQUESTS, REGISTRY


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, "ok"),
        (NotFound("gone"), "NotFound"),
        (ZeroDivisionError("boom"), "defect"),
        (asyncio.CancelledError("stop"), "cancelled"),
    ],
)
def test_every_end_is_counted_once_and_passed_on(error: BaseException | None, result: str) -> None:
    """Errors go on to whoever made the request."""
    requests = value("kafleet_operator_api_requests_total", verb="get", result=result)
    timed = value("kafleet_operator_api_request_duration_seconds_count", verb="get")

    with contextlib.ExitStack() as caught:
        if error:
            caught.enter_context(pytest.raises(type(error), match=str(error)))
        with API_REQUESTS.timed("get"):
            if error:
                raise error

    assert value("kafleet_operator_api_requests_total", verb="get", result=result) == requests + 1
    assert value("kafleet_operator_api_request_duration_seconds_count", verb="get") == timed + 1

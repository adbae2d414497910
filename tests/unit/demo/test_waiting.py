"""Waiting ends with an answer, or at the deadline with what was seen last."""

from __future__ import annotations

import pytest
from demo.errors import Failed
from demo.waiting import until


def test_the_first_true_answer_is_returned() -> None:
    answers = iter(["", "ready"])

    assert until("an answer", lambda: next(answers), 5) == "ready"


def test_at_the_deadline_the_last_error_and_the_place_to_look_are_named() -> None:
    def refused() -> bool:
        raise Failed("connection refused")

    with pytest.raises(
        Failed, match=r"gave up waiting for an answer after 0 s: connection refused"
    ) as caught:
        until("an answer", refused, 0, look="kubectl logs")

    assert caught.value.look == "kubectl logs"

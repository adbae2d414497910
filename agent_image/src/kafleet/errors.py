"""What a handler may raise to say how a record is to go on, and what can be wrong at start."""

from __future__ import annotations

import math


class Reject(Exception):
    """Give this record up at once: it becomes a dead letter with this reason."""

    def __init__(self, reason: str = "rejected by the handler") -> None:
        super().__init__(reason)
        self.reason = reason


class RetryLater(Exception):
    """Try this record again after so many seconds; does not count as a failed attempt. Its key waits."""

    def __init__(self, after: float) -> None:
        self.after = _seconds(after)
        super().__init__(f"again in {self.after:g} s")


class Throttled(Exception):
    """The provider is full: this replica starts nothing for so many seconds. Not a failed attempt."""

    def __init__(self, after: float) -> None:
        self.after = _seconds(after)
        super().__init__(f"throttled for {self.after:g} s")


class UnknownLane(LookupError):
    """`ctx.send` names a lane that this lane may not write to."""


class StartError(Exception):
    """The agent cannot start; the message says what to change."""


class InvalidAgent(StartError, TypeError):
    """The agent's code is not something Kafleet can run."""


class InvalidLaneFile(StartError, ValueError):
    """The lane file is missing or does not fit its schema."""


class InvalidSecret(StartError, ValueError):
    """A mounted Secret is missing, or is nothing that Kafka's client can use."""


def _seconds(after: float) -> float:
    seconds = float(after)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"after must be a number of seconds, at least 0, not {after!r}")
    return seconds

"""How long to wait before something is tried again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafleet.lanes import Delivery

_MOST_DOUBLINGS = 32


class Backoff:
    """Waits that double with each failure, less a random half: replicas must not retry in step."""

    def __init__(self, delivery: Delivery, randomness: random.Random | None = None) -> None:
        self._initial = delivery.backoff_initial_seconds
        self._longest = delivery.backoff_max_seconds
        self._random = randomness or random.Random()  # noqa: S311 - jitter, no secret

    def seconds(self, failures: int) -> float:
        """Return the wait after so many failures in a row."""
        doubled = self._initial * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)
        return min(doubled, self._longest) * self._random.uniform(0.5, 1.0)

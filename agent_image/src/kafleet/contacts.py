"""What is known of the brokers and the group. Written by the Kafka threads, read by the event loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Contact:
    """The state of the connection. Each field is replaced whole, so that reading needs no lock.

    `member_id` is set when the group was joined. `error` is the last one the client reported, None when all
    is well again. `polled_at` is on the monotonic clock.
    """

    member_id: str | None = None
    has_brokers: bool = False
    has_group: bool = False
    error: str | None = None
    polled_at: float = field(default_factory=time.monotonic)

    @property
    def silent_seconds(self) -> float:
        """How long the thread that polls has given no sign of life."""
        return time.monotonic() - self.polled_at

"""What is known of the brokers and the group. Written by the Kafka threads, read by the event loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Contact:
    """The state of the connection. Each field is replaced whole, so that reading needs no lock.

    `member_id` is set when the group was joined. `error` is the last one the client reported, None when all
    is well again. On the monotonic clock: `polled_at`, when the thread that polls was alive; `heard_at`, when
    the group's coordinator sent something.
    """

    member_id: str | None = None
    has_brokers: bool = False
    has_group: bool = False
    error: str | None = None
    polled_at: float = field(default_factory=time.monotonic)
    heard_at: float = field(default_factory=time.monotonic)

    @property
    def silent_seconds(self) -> float:
        """How long the thread that polls has given no sign of life."""
        return time.monotonic() - self.polled_at

    @property
    def unheard_seconds(self) -> float:
        """How long the group's coordinator has been silent."""
        return time.monotonic() - self.heard_at

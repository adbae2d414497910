"""What goes wrong in the demo or a test's steps, with the place where one looks next."""

from __future__ import annotations


class Failed(Exception):
    """Something is not as it must be. `look` is a command that shows more, or empty."""

    def __init__(self, reason: str, look: str = "") -> None:
        super().__init__(reason)
        self.look = look

"""What a Kafka client logs, where that tells more than its errors."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LOSS = "FAIL"  # what librdkafka's log calls the loss of a connection


class ClientLog(logging.LoggerAdapter[logging.Logger]):
    """What a client logs. Calls `lose` for a connection that the other side closes: no error tells of that.

    The client's statistics would, but pile up while nobody polls it.
    """

    def __init__(self, lose: Callable[[], None]) -> None:
        super().__init__(logging.getLogger("librdkafka"))
        self._lose = lose

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - as there
        """Take a line; the client gives its kind as the first argument."""
        if args[:1] == (_LOSS,):
            self._lose()
        super().log(level, msg, *args, **kwargs)

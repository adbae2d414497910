"""TLS connections whose end does not wait for the other side."""

from __future__ import annotations

import contextlib
import ssl


class _Parting(ssl.SSLObject):
    """Says goodbye and does not wait for the answer, which TLS asks of nobody (RFC 8446, 6.1).

    asyncio waits for it after `close`, for up to 30 seconds. aiohttp aborts what is in use when its session
    is closed (aiohttp#11148), but has forgotten what was closed before that, as watches are when the operator
    ends: the event loop would end first, and leave them to the garbage collector (aiohttp#1925).
    """

    def unwrap(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):  # the goodbye is written, the answer is not there yet
            super().unwrap()


def closing_at_once(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return the context, made to end its connections on an event loop as soon as they are closed."""
    context.sslobject_class = _Parting
    return context

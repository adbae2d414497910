"""Objects that users reference by name and own themselves: read, hashed, never written.

They carry no label of ours to watch them by, so they are read again at every third observation: an edit of
an agent's code reaches its pods within that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from kafleet_operator.effects.views import TYPES
from kafleet_operator.errors import KafleetError, NotFound
from kafleet_operator.planning.manifests import hash_of
from kafleet_operator.planning.observations import Unknown

if TYPE_CHECKING:
    from kafleet_operator.effects.api_server import ApiServer

FRESH_OBSERVATIONS: Final = 3


class References:
    """Content hashes of the ConfigMaps that one resource references, in its namespace."""

    def __init__(self, api: ApiServer, namespace: str, observe_seconds: float) -> None:
        self._api = api
        self._namespace = namespace
        self._fresh_seconds = FRESH_OBSERVATIONS * observe_seconds
        self._known: dict[str, tuple[float, str | None]] = {}

    async def observe_config_map(self, name: str) -> str | Unknown | None:
        """Return the hash of a ConfigMap's data, None if there is none, Unknown if it cannot be read."""
        now = asyncio.get_running_loop().time()
        read_at, content = self._known.get(name, (float("-inf"), None))
        if now - read_at < self._fresh_seconds:
            return content
        try:
            body = await self._api.read(TYPES["ConfigMap"].path(self._namespace, name))
            content = hash_of([body.get("data"), body.get("binaryData")])
        except NotFound:
            content = None
        except KafleetError as error:
            return Unknown(error.reason, str(error))
        self._known[name] = (now, content)
        return content

"""What is in the Secrets that connections name, for the operator's own clients; kept in memory only.

Those of resources are read from the API server, those of the operator itself are files in its pod.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from kafleet_operator.effects.references import SOURCES
from kafleet_operator.errors import NotFound, ReferenceNotFound

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.planning.connections import SecretKey
    from kafleet_operator.planning.fleets import Json


class Secrets:
    """Reads Secrets whenever it is asked to; `folder` has the operator's own, as `<secret>/<key>`."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self._api = api
        self._folder = folder

    def read_own(self, keys: Collection[SecretKey]) -> dict[SecretKey, str]:
        """Return the value of each key of the operator's own Secrets; raises as `read`."""
        return {key: _text(key, self._file(key)) for key in keys}

    async def read(self, keys: Collection[SecretKey]) -> dict[SecretKey, str]:
        """Return the values of keys of one namespace; ReferenceNotFound if one is not there, or no text."""
        bodies: dict[str, Json] = {}
        for key in keys:
            if key.secret not in bodies:
                bodies[key.secret] = await self._body(key)
        return {key: _text(key, _decoded(key, bodies[key.secret])) for key in keys}

    def _file(self, key: SecretKey) -> bytes:
        path = self._folder / key.secret / key.key
        try:
            return path.read_bytes()
        except OSError as error:
            raise ReferenceNotFound(
                f"{key.field}: cannot read key {key.key!r} of Secret {key.secret!r} at {str(path)!r}: "
                f"{error.strerror}; the operator's pod must mount it"
            ) from None

    async def _body(self, key: SecretKey) -> Json:
        try:
            return await self._api.read(SOURCES["Secret"].path(key.namespace, key.secret))
        except NotFound:
            raise ReferenceNotFound(
                f"{key.field} names Secret {key.secret!r}, which does not exist; create it"
            ) from None


def _decoded(key: SecretKey, body: Json) -> bytes:
    data: dict[str, str] = body.get("data") or {}
    if key.key not in data:
        raise ReferenceNotFound(
            f"{key.field} names key {key.key!r}, which Secret {key.secret!r} does not have; add it"
        )
    try:
        return base64.b64decode(data[key.key], validate=True)
    except binascii.Error:
        return b""


def _text(key: SecretKey, value: bytes) -> str:
    # Files that people write end with a line break, and no password does; agents read them alike.
    text = value.decode(errors="replace").rstrip("\r\n")
    if not text or "\N{REPLACEMENT CHARACTER}" in text:
        raise ReferenceNotFound(
            f"{key.field}: key {key.key!r} of Secret {key.secret!r} is empty or no UTF-8; give it a value"
        )
    return text

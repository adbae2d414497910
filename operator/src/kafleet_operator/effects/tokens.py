"""Tokens of an OpenID Connect provider for kafka-python, as librdkafka fetches them for itself."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from threading import Lock
from typing import TYPE_CHECKING, Final

from kafleet_operator.effects.protocol import AbstractTokenProvider

if TYPE_CHECKING:
    from kafleet_operator.planning.connections import ClientCredentials

REQUEST_SECONDS: Final = 5.0
USED_LIFE: Final = 0.8  # of a token, before the next one is fetched


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # untyped
    """Fetches a token by client credentials (RFC 6749, 4.4) when there is none that lives long enough."""

    def __init__(self, credentials: ClientCredentials, client_secret: str) -> None:
        super().__init__()
        self._credentials = credentials
        self._secret = client_secret
        self._lock = Lock()
        self._token = ""
        self._good_until = 0.0

    def token(self) -> str:
        with self._lock:
            if time.monotonic() >= self._good_until:
                self._token, life_seconds = self._fetch()
                self._good_until = time.monotonic() + USED_LIFE * life_seconds
            return self._token

    def _fetch(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials"}
        if self._credentials.scope:
            form["scope"] = self._credentials.scope
        # As librdkafka sends them, without quoting them first: to a provider both must be one client.
        pair = f"{self._credentials.client_id}:{self._secret}"
        request = urllib.request.Request(  # noqa: S310  the API admits http and https only
            self._credentials.token_endpoint,
            data=urllib.parse.urlencode(form).encode(),
            headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()},
        )
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:  # noqa: S310  likewise
            body = json.load(answer)
        return str(body["access_token"]), float(body.get("expires_in", 60))

"""An OpenID Connect provider as far as Kafka needs one: keys to check by, tokens for whoever asks."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from types import TracebackType

AUDIENCE = "kafka"
ISSUER = "https://sso.example"
LIFE_SECONDS = 300


class Provider:
    """Signs tokens for clients, whose ids it takes for users; `clients` has their secrets.

    Inside of its context it answers at `endpoint`; `asked` notes who asked, and the form.
    """

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.clients: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []

    def keys(self) -> str:
        """Return the JSON Web Key Set of the provider."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256"}
        return json.dumps({"keys": [{**key, "n": _number(numbers.n), "e": _number(numbers.e)}]})

    def token(self, client: str) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": client, "aud": AUDIENCE, "iat": now, "exp": now + LIFE_SECONDS}
        signed = ".".join(
            _encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1"}, claims)
        )
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"

    def answer(self, credentials: str, form: dict[str, list[str]]) -> dict[str, Any] | None:
        """Return what the token endpoint says, None to a client that it does not know."""
        self.asked.append((credentials, form))
        client, _, secret = credentials.partition(":")
        if self.clients.get(client) != secret:
            return None
        return {"access_token": self.token(client), "token_type": "Bearer", "expires_in": LIFE_SECONDS}

    def __enter__(self) -> Self:
        provider = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                words = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                answer = provider.answer(words, parse_qs(body))
                content = json.dumps(answer or {"error": "invalid_client"}).encode()
                self.send_response(200 if answer else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the parent's name
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Endpoint)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/token"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))

"""The API server's answers become values or our errors, whatever the server says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from virtual import run

from kafleet_operator.effects.api_server import ApiServer
from kafleet_operator.errors import (
    ApiUnavailable,
    Conflict,
    KafleetError,
    NotAuthorized,
    NotFound,
    Rejected,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


class FakeClient:
    """The generated client's two halves: it answers, or raises, what it was given."""

    def __init__(self, status: int = 200, text: bytes = b"{}", error: Exception | None = None) -> None:
        self.status, self.text, self.error = status, text, error
        self.request: Any = None
        self.is_closed = False

    async def param_serialize(self, *request: object, **more: object) -> Iterable[object]:
        self.request = (*request, more)
        return []

    async def call_api(self, *_request: object, **_more: object) -> FakeClient:
        if self.error:
            raise self.error
        return self

    async def read(self) -> bytes:
        return self.text

    @property
    def response(self) -> FakeClient:
        return self

    @property
    async def content(self) -> AsyncIterator[bytes]:
        for line in self.text.splitlines(keepends=True):
            yield line

    def close(self) -> None:
        self.is_closed = True


def read(client: Any) -> Any:  # noqa: ANN401 - a fake, and any JSON value
    return run(ApiServer(client).read("/api/v1/namespaces/a/configmaps/b"))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Rejected),
        (401, NotAuthorized),
        (403, NotAuthorized),
        (404, NotFound),
        (409, Conflict),
        (410, Conflict),
        (422, Rejected),
        (429, ApiUnavailable),
        (500, ApiUnavailable),
        (503, ApiUnavailable),
        (302, Rejected),
    ],
)
def test_each_status_is_an_error_with_the_servers_words(status: int, error: type[KafleetError]) -> None:
    """What may be different next time is `ApiUnavailable`."""
    with pytest.raises(KafleetError) as caught:
        read(FakeClient(status, b'{"message": "because"}'))

    assert type(caught.value) is error
    assert str(caught.value) == f"GET /api/v1/namespaces/a/configmaps/b: {status}: because"


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b'"x"', b"\xff"])
def test_an_error_without_sense_still_is_one(text: bytes) -> None:
    """A proxy in between may say anything."""
    with pytest.raises(ApiUnavailable):
        read(FakeClient(502, text))


@pytest.mark.parametrize(
    "error", [aiohttp.ClientConnectionError("refused"), TimeoutError(), ConnectionResetError(), OSError()]
)
def test_no_answer_is_unavailable(error: Exception) -> None:
    """The words are never empty."""
    with pytest.raises(ApiUnavailable, match=r"did not answer GET /api.*: \S"):
        read(FakeClient(error=error))


def test_an_answer_that_is_no_json_is_unavailable() -> None:
    """An answer cut short is not an object without fields."""
    with pytest.raises(ApiUnavailable):
        read(FakeClient(200, b'{"metadata": '))


def test_deleting_is_bound_to_the_uid() -> None:
    """Another object of the same name is not meant."""
    client: Any = FakeClient()
    run(ApiServer(client).delete("/api/v1/namespaces/a/configmaps/b", "the-uid"))

    assert client.request[-1]["body"]["preconditions"] == {"uid": "the-uid"}


def watch(client: Any) -> list[Any]:  # noqa: ANN401 - a fake
    async def collect() -> list[Any]:
        return [event async for event in ApiServer(client).watch_metadata("/api/v1/secrets", "7", 300)]

    return run(collect())


def test_a_watch_tells_what_happens_until_it_ends() -> None:
    """From the version on, and its connection is closed at the end."""
    client = FakeClient(text=b'{"type": "ADDED", "object": 1}\n{"type": "BOOKMARK", "object": 2}\n')

    assert [event["object"] for event in watch(client)] == [1, 2]
    assert client.is_closed
    query = dict(client.request[-1]["query_params"])
    assert (query["resourceVersion"], query["timeoutSeconds"]) == ("7", "300")


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (FakeClient(text=b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}\n'), Conflict),
        (FakeClient(text=b'{"type": "ERROR", "object": {}}\n'), ApiUnavailable),
        (FakeClient(text=b'{"type": "ADD'), ApiUnavailable),
        (FakeClient(403), NotAuthorized),
        (FakeClient(error=TimeoutError()), ApiUnavailable),
    ],
)
def test_a_watch_that_fails_says_why(client: FakeClient, error: type[KafleetError]) -> None:
    """A version that is too old is told from an API server that does not answer."""
    with pytest.raises(error):
        watch(client)

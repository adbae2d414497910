"""The one door to the Kubernetes API: plain dicts in and out, and every failure is one of our errors.

The generated models are not used: they drop fields that they do not know.
"""

from __future__ import annotations

import contextlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NoReturn

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from kafleet_operator.effects.closing import closing_at_once
from kafleet_operator.errors import ApiUnavailable, Conflict, NotAuthorized, NotFound, Rejected
from kafleet_operator.metrics import API_REQUESTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from kubernetes.aio.client.rest import RESTResponse

    from kafleet_operator.planning.fleets import Json

FIELD_MANAGER: Final = "kafleet"
TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)
JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
VERBS: Final = {
    "get": ("GET", JSON),
    "list": ("GET", JSON),
    "watch": ("GET", JSON),
    "create": ("POST", JSON),
    "apply": ("PATCH", APPLY),
    "patch": ("PATCH", MERGE),
    "delete": ("DELETE", JSON),
}
ONLY_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
LISTED_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
ERRORS: Final = {401: NotAuthorized, 403: NotAuthorized, 404: NotFound, 409: Conflict, 410: Conflict}
TRANSIENT: Final = 429
SERVER_ERRORS: Final = 500


class ApiServer:
    """Requests against one API server; paths begin with `/api` or `/apis`.

    Raises `NotFound`, `Conflict`, `NotAuthorized`, `Rejected` (the request makes no sense to the server), or
    `ApiUnavailable` (no answer, or one that may be different next time).
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        return await self._request("list" if query else "get", path, query=query)

    async def list_metadata(self, path: str, query: Mapping[str, str]) -> Json:
        """List only metadata: enough to know whose the objects are, and when any of them changed last."""
        return await self._request("list", path, query=query, accept=LISTED_METADATA)

    async def watch_metadata(self, path: str, version: str, seconds: int) -> AsyncGenerator[Json]:
        """Watch a list from a version on; each event has a `type` and the metadata of an `object`.

        Ends after the seconds. Raises `Conflict` if the version is too old, and as everything else here.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        timeout = aiohttp.ClientTimeout(total=seconds + 30, connect=5)
        what = f"watch of {path}"
        with _answered(what):
            response = await self._send("watch", path, query=query, accept=ONLY_METADATA, timeout=timeout)
            try:
                async for line in response.response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        _raise(event["object"].get("code", 500), json.dumps(event["object"]).encode(), what)
                    yield event
            finally:
                response.response.close()

    async def create(self, path: str, body: Json, query: Mapping[str, str] | None = None) -> Json:
        return await self._request("create", path, query=query, body=body)

    async def apply(self, path: str, body: Json) -> Json:
        """Write the whole object by server-side apply, taking over fields that others set."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._request("apply", path, query=query, body=body)

    async def merge(self, path: str, body: Json) -> Json:
        """Patch by RFC 7396; `metadata.uid` and `metadata.resourceVersion` in it are preconditions."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._request("patch", path, query=query, body=body)

    async def delete(self, path: str, uid: str) -> None:
        """Delete the object if it still is the one with that uid; its dependents go in the background."""
        body: Json = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._request("delete", path, body=body)

    async def close(self) -> None:
        await self._client.close()

    async def _request(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        accept: str = JSON,
    ) -> Json:
        with API_REQUESTS.timed(verb), _answered(f"{VERBS[verb][0]} {path}"):
            response = await self._send(verb, path, query=query, body=body, accept=accept)
            answer: Json = json.loads(await response.read())
        return answer

    async def _send(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Json | None = None,
        accept: str,
        timeout: aiohttp.ClientTimeout = TIMEOUT,  # noqa: ASYNC109 - the client's own, for all of the answer
    ) -> RESTResponse:
        """Send a request and return the answer, its body unread; raise if it is an error."""
        method, content_type = VERBS[verb]
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._client.call_api(*request, _request_timeout=timeout)
        if response.status >= 300:  # noqa: PLR2004  where HTTP's errors and redirections begin
            _raise(response.status, await response.read(), f"{method} {path}")
        return response


@contextlib.contextmanager
def _answered(what: str) -> Iterator[None]:
    """Turn an answer that does not come, or makes no sense, into `ApiUnavailable`."""
    try:
        yield
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ApiUnavailable(
            f"the API server did not answer {what}: {str(error) or type(error).__name__}"
        ) from error
    except ValueError as error:
        raise ApiUnavailable(f"the API server's answer to {what} is no JSON") from error


async def connect() -> ApiServer:
    """Connect as the pod's service account, or outside a pod as the current context of `KUBECONFIG`.

    Raises `ApiUnavailable` if neither is there; whether the server answers is not tried.
    """
    # Looking for a proxy and a .netrc would cost a thread's turn with each request; kopf looks for none, too.
    configuration = Configuration(client_session_kwargs={"trust_env": False})
    configuration.connection_pool_maxsize = 0  # no limit: each watch keeps a connection
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            await config.load_kube_config(client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise ApiUnavailable(f"neither a pod's service account nor a kubeconfig: {error}") from error
    client = ApiClient(configuration)
    closing_at_once(client.rest_client.ssl_context)
    client.user_agent = f"kafleet-operator/{version('kafleet-operator')}"
    return ApiServer(client)


def _raise(status: int, text: bytes, what: str) -> NoReturn:
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text[:200].decode(errors="replace")
    is_transient = status == TRANSIENT or status >= SERVER_ERRORS
    error = ApiUnavailable if is_transient else ERRORS.get(status, Rejected)
    raise error(f"{what}: {status}: {message}")

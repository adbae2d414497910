"""The one door to the Kubernetes API: plain dicts in and out, and every failure is one of our errors.

The generated models are not used: they drop fields that they do not know.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NoReturn

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from kafleet_operator.errors import ApiUnavailable, Conflict, NotAuthorized, NotFound, Rejected
from kafleet_operator.metrics import API_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet_operator.planning.fleets import Json

FIELD_MANAGER: Final = "kafleet"
TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)
JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
VERBS: Final = {
    "get": ("GET", JSON),
    "list": ("GET", JSON),
    "create": ("POST", JSON),
    "apply": ("PATCH", APPLY),
    "patch": ("PATCH", MERGE),
    "delete": ("DELETE", JSON),
}
ONLY_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
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

    async def read_metadata(self, path: str) -> Json:
        """Read only `metadata`: enough to know whose the object is."""
        return await self._request("get", path, accept=ONLY_METADATA)

    async def create(self, path: str, body: Json) -> Json:
        return await self._request("create", path, body=body)

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
        method, content_type = VERBS[verb]
        with API_REQUESTS.timed(verb):
            return await self._send(
                method, path, query=query, body=body, headers={"Accept": accept, "Content-Type": content_type}
            )

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Json | None,
        headers: Mapping[str, str],
    ) -> Json:
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=dict(headers),
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(*request, _request_timeout=TIMEOUT)
            text = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiUnavailable(
                f"the API server did not answer {method} {path}: {str(error) or type(error).__name__}"
            ) from error
        if response.status >= 300:  # noqa: PLR2004  where HTTP's errors and redirections begin
            _raise(response.status, text, f"{method} {path}")
        try:
            answer: Json = json.loads(text)
        except ValueError as error:
            raise ApiUnavailable(f"the API server's answer to {method} {path} is no JSON") from error
        return answer


async def connect() -> ApiServer:
    """Connect as the pod's service account, or outside a pod as the current context of `KUBECONFIG`.

    Raises `ApiUnavailable` if neither is there; whether the server answers is not tried.
    """
    # Looking for a proxy and a .netrc would cost a thread's turn with each request; kopf looks for none, too.
    configuration = Configuration(client_session_kwargs={"trust_env": False})
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            await config.load_kube_config(client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise ApiUnavailable(f"neither a pod's service account nor a kubeconfig: {error}") from error
    client = ApiClient(configuration)
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

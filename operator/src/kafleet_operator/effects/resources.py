"""What the operator writes into a custom resource: its status and its finalizer; and Events about it."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Final

from kafleet_operator.effects.views import TYPES
from kafleet_operator.errors import KafleetError, NotAuthorized, NotFound
from kafleet_operator.planning.names import FINALIZER

if TYPE_CHECKING:
    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.effects.views import View
    from kafleet_operator.planning.fleets import Json

CONTROLLER: Final = "kafleet.dev/operator"
# How the API server refuses anything new in a namespace that is being deleted.
TERMINATING: Final = "because it is being terminated"


class Resources:
    """Writes to custom resources. Each takes the body that was read and fails if that one is gone."""

    def __init__(self, api: ApiServer, view: View) -> None:
        self._api = api
        self._view = view

    async def write_status(self, body: Json, status: Json) -> None:
        """Write the whole status, if it is not that already."""
        if body.get("status", {}) == status:
            return
        metadata = {name: body["metadata"][name] for name in ("name", "namespace", "uid")}
        wish = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": metadata,
            "status": status,
        }
        self._view.put(await self._api.apply(_path(body, "status"), wish))

    async def set_finalizer(self, body: Json) -> None:
        """Put our finalizer on, if it is not there: before anything is made that outlives the resource."""
        if not has_finalizer(body):
            await self._write_finalizers(body, [*body["metadata"].get("finalizers", []), FINALIZER])

    async def drop_finalizer(self, body: Json) -> None:
        """Take our finalizer off, if it is there; a resource that is gone needs none."""
        if has_finalizer(body):
            others = [name for name in body["metadata"]["finalizers"] if name != FINALIZER]
            with contextlib.suppress(NotFound):
                await self._write_finalizers(body, others)

    async def is_namespace_going(self, body: Json) -> bool:
        """Tell whether the namespace is being deleted, too: by a trial, which needs no right to see it."""
        namespace = body["metadata"]["namespace"]
        trial = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "kafleet-"}}
        try:
            await self._api.create(TYPES["ConfigMap"].path(namespace), trial, {"dryRun": "All"})
        except NotAuthorized as error:
            return TERMINATING in str(error)
        return False

    async def post_event(
        self, body: Json, *, reason: str, message: str, severity: str, action: str, now: str
    ) -> None:
        """Tell the story to `kubectl describe`, best effort; `severity` is Normal or Warning."""
        metadata = body["metadata"]
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}"},
            "eventTime": now,
            "type": severity,
            "reason": reason,
            "note": message[:1024],  # the API's limit
            "action": action,
            "reportingController": CONTROLLER,
            "reportingInstance": CONTROLLER,
            "regarding": {
                "apiVersion": body["apiVersion"],
                "kind": body["kind"],
                **{name: metadata[name] for name in ("name", "namespace", "uid")},
            },
        }
        with contextlib.suppress(KafleetError):
            await self._api.create(f"/apis/events.k8s.io/v1/namespaces/{metadata['namespace']}/events", event)

    async def _write_finalizers(self, body: Json, finalizers: list[str]) -> None:
        metadata = {name: body["metadata"][name] for name in ("uid", "resourceVersion")}
        patch = {"metadata": {**metadata, "finalizers": finalizers}}
        answer = await self._api.merge(_path(body), patch)
        # Without its last finalizer a resource that is being deleted is gone at once.
        if finalizers or "deletionTimestamp" not in body["metadata"]:
            self._view.put(answer)


def has_finalizer(body: Json) -> bool:
    return FINALIZER in body["metadata"].get("finalizers", [])


def is_going(body: Json) -> bool:
    """Tell whether the resource's deletion was asked for."""
    return "deletionTimestamp" in body["metadata"]


def _path(body: Json, subresource: str = "") -> str:
    metadata = body["metadata"]
    return TYPES[body["kind"]].path(metadata["namespace"], metadata["name"], subresource)

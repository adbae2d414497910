"""The Kubernetes objects of one resource, written whole by server-side apply.

Never takes over what belongs to somebody else, and never brings back what was deleted in the meantime.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from kafleet_operator.effects.views import OWNED, TYPES, controller_of
from kafleet_operator.errors import Conflict, NotFound
from kafleet_operator.planning import names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.effects.views import View
    from kafleet_operator.planning.fleets import Json, Owner

Name = tuple[str, str]  # kind, name
NO_VERSION: Final = "1"  # etcd's first revision, in which it holds nothing yet


class Objects:
    """The Kubernetes objects of one resource (`owner`: one uid, one lifetime).

    Names that were taken when an object was to be made are remembered, and looked at until they are free.
    """

    def __init__(self, api: ApiServer, view: View, owner: Owner) -> None:
        self._api = api
        self._view = view
        self._owner = owner
        self._taken: dict[Name, Json | None] = {}

    def owned(self) -> dict[Name, Json]:
        """Return what the resource owns, as last seen."""
        members = self._view.members(self._owner.key, OWNED)
        return {(body["kind"], body["metadata"]["name"]): body for body in members if self._is_ours(body)}

    async def foreign(self, wanted: Iterable[Name]) -> dict[Name, str]:
        """Return who holds the wanted names that the resource does not own, in words.

        Only the watch is asked; what it does not show, because it has not our label, is found out by `apply`.
        """
        holders = {}
        for kind, name in wanted:
            body = self._view[kind, self._owner.namespace, name]
            if body is None and (kind, name) in self._taken:
                body = self._taken[kind, name] = await self._look_up(kind, name)
            if body and not self._is_ours(body):
                holders[kind, name] = self._holder(body)
        return holders

    async def absent(self, kind: str, wanted: Iterable[str]) -> frozenset[str]:
        """Return the names under which the API server has nothing of a kind now, whatever was seen before."""
        names = list(wanted)
        found = await asyncio.gather(*(self._look_up(kind, name) for name in names))
        return frozenset(name for name, body in zip(names, found, strict=True) if body is None)

    async def apply(self, desired: Json) -> Json:
        """Make an object as desired and return it as it is now; Conflict if it is not what was seen last."""
        kind, name = desired["kind"], desired["metadata"]["name"]
        seen = self._view[kind, self._owner.namespace, name] or self._taken.get((kind, name))
        # With the uid a write to an object that is gone fails, instead of making a new one. With a version
        # that no object has, one to an object that is there fails, instead of taking it over.
        identity = {"uid": seen["metadata"]["uid"]} if seen else {"resourceVersion": NO_VERSION}
        path = TYPES[kind].path(self._owner.namespace, name)
        try:
            body = await self._api.apply(path, {**desired, "metadata": {**desired["metadata"], **identity}})
        except Conflict:
            if seen is None:
                self._taken[kind, name] = None
            raise
        self._taken.pop((kind, name), None)
        self._view.put(body)
        return body

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object of the resource, if it is there."""
        seen = self._view[kind, self._owner.namespace, name]
        if seen is None or not self._is_ours(seen) or "deletionTimestamp" in seen["metadata"]:
            return
        try:
            await self._api.delete(TYPES[kind].path(self._owner.namespace, name), seen["metadata"]["uid"])
        except NotFound:
            self._view.drop(seen)

    async def _look_up(self, kind: str, name: str) -> Json | None:
        query = {"fieldSelector": f"metadata.name={name}"}
        listed = await self._api.list_metadata(TYPES[kind].path(self._owner.namespace), query)
        # An empty list of metadata has null for its items.
        return next(({**body, "kind": kind} for body in listed["items"] or ()), None)

    def _is_ours(self, body: Json) -> bool:
        controller = controller_of(body)
        if controller:
            return bool(controller["uid"] == self._owner.uid)
        # Orphaned by `kubectl delete --cascade=orphan`: taken back, as a ReplicaSet takes back its pods.
        labels = body["metadata"].get("labels", {})
        return (labels.get(names.KIND), labels.get(names.RESOURCE)) == (
            self._owner.kind,
            self._owner.name,
        )

    def _holder(self, body: Json) -> str:
        controller = controller_of(body)
        if controller is None:
            return "nobody that Kafleet knows"
        holder = f"{controller['kind']} {self._owner.namespace}/{controller['name']}"
        return f"an earlier {holder} that is being deleted" if holder == str(self._owner) else holder

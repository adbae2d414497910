"""The operator's memory of the cluster: resources and what they own, as last seen.

Kubernetes' versions order everything that is put in, so that a late watch event, a list and the answer to a
write of our own never undo each other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kafleet_operator.api.kinds import GROUP, KINDS, VERSION
from kafleet_operator.planning import names
from kafleet_operator.planning.claims import claims_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.planning.fleets import Json

Key = tuple[str, str, str]  # kind, namespace, name

MANAGED: Final = "app.kubernetes.io/managed-by=kafleet"
REMEMBERED_DELETIONS: Final = 10_000
LIST_CHUNK: Final = "500"


@dataclass(frozen=True, slots=True)
class Type:
    """How the API server serves one kind of object; `selector` picks the objects that are the operator's."""

    kind: str
    group: str
    version: str
    plural: str
    selector: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """Return the path of an object, or of the list of all (in the namespace, if one is given)."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        path += f"/namespaces/{namespace}/{self.plural}" if namespace else f"/{self.plural}"
        path += f"/{name}" if name else ""
        return path + (f"/{subresource}" if subresource else "")


RESOURCES: Final = tuple(Type(kind.name, GROUP, VERSION, kind.plural) for kind in KINDS.values())
OWNED: Final = (
    Type("ServiceAccount", "", "v1", "serviceaccounts", MANAGED),
    Type("ConfigMap", "", "v1", "configmaps", MANAGED),
    Type("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets", MANAGED),
    Type("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies", MANAGED),
    Type("Deployment", "apps", "v1", "deployments", MANAGED),
)
PODS: Final = Type("Pod", "", "v1", "pods", MANAGED)
TYPES: Final = {type_.kind: type_ for type_ in (*RESOURCES, *OWNED, PODS)}


class View:
    """What is known of every object, without `managedFields`. Treat what it returns as read-only."""

    def __init__(self) -> None:
        self._objects: dict[Key, Json] = {}
        self._members: dict[Key, set[Key]] = defaultdict(set)
        self._claimants: dict[str, set[Key]] = defaultdict(set)
        self._deleted: dict[str, int] = {}

    def __getitem__(self, key: Key) -> Json | None:
        return self._objects.get(key)

    def claimants(self, topics: Iterable[str]) -> list[Json]:
        """Return the custom resources that claim any of those topics in their status."""
        keys = set().union(*(self._claimants.get(topic, ()) for topic in topics))
        return [self._objects[key] for key in sorted(keys)]

    def members(self, resource: Key, kinds: Iterable[Type]) -> list[Json]:
        """Return the objects of those kinds that belong to a resource by owner or by label, by name."""
        wanted = {type_.kind for type_ in kinds}
        return [self._objects[key] for key in sorted(self._members.get(resource, ())) if key[0] in wanted]

    def put(self, body: Json) -> set[Key]:
        """Take in an object; return the resources that should look at it: none if it is nothing new."""
        metadata = body["metadata"]
        key, known = key_of(body), self._objects.get(key_of(body))
        newest = max(self._deleted.get(metadata["uid"], 0), version_of(known) if known else 0)
        if version_of(body) <= newest:
            return set()
        before = self._forget(key)
        self._objects[key] = {
            **body,
            "metadata": {name: value for name, value in metadata.items() if name != "managedFields"},
        }
        resource = resource_of(body)
        if resource:
            self._members[resource].add(key)
        for topic in _claimed(body):
            self._claimants[topic].add(key)
        return before | ({resource} if resource else set())

    def drop(self, body: Json, version: int | None = None) -> set[Key]:
        """Take out an object that is gone, or lost its label, at a version; return who should know."""
        key, uid = key_of(body), body["metadata"]["uid"]
        self._deleted[uid] = version or version_of(body)
        if len(self._deleted) > REMEMBERED_DELETIONS:
            del self._deleted[next(iter(self._deleted))]
        known = self._objects.get(key)
        return self._forget(key) if known and known["metadata"]["uid"] == uid else set()

    def replace(self, type_: Type, namespace: str | None, listed: list[Json], version: int) -> set[Key]:
        """Take in a list of all objects of a type; what it lacks, and was seen before it, is gone."""
        names = {key_of(body) for body in listed}
        gone = [
            body
            for key, body in self._objects.items()
            if key[0] == type_.kind
            and namespace in (None, key[1])
            and key not in names
            and version_of(body) <= version
        ]
        affected = [self.drop(body, version) for body in gone] + [self.put(body) for body in listed]
        return set().union(*affected)

    def _forget(self, key: Key) -> set[Key]:
        known = self._objects.pop(key, None)
        resource = resource_of(known) if known else None
        if known is None or resource is None:
            return set()
        for topic in _claimed(known):
            _discard(self._claimants, topic, key)
        _discard(self._members, resource, key)
        return {resource}


def _discard(index: dict[Any, set[Key]], entry: object, key: Key) -> None:
    index[entry].discard(key)
    if not index[entry]:
        del index[entry]


def _claimed(body: Json) -> set[str]:
    """Return the topics that a custom resource claims; none for anything else."""
    is_resource = body["kind"] in KINDS
    return {claim.name for claim in claims_in(body.get("status") or {})} if is_resource else set()


def key_of(body: Json) -> Key:
    metadata = body["metadata"]
    return (body["kind"], metadata["namespace"], metadata["name"])


def version_of(body: Json) -> int:
    """Return the resource version, which orders objects of one type (KEP-5504)."""
    return int(body["metadata"]["resourceVersion"])


def controller_of(body: Json) -> Json | None:
    """Return the owner reference of whoever controls an object."""
    references: list[Any] = body["metadata"].get("ownerReferences", [])
    return next((reference for reference in references if reference.get("controller")), None)


def resource_of(body: Json) -> Key | None:
    """Return the custom resource that an object is, or belongs to by its owner or else by its labels."""
    kind, namespace, name = key_of(body)
    if kind in KINDS:
        return (kind, namespace, name)
    owner = controller_of(body)
    if owner and owner["apiVersion"].startswith(f"{GROUP}/"):
        return (owner["kind"], namespace, owner["name"])
    labels = body["metadata"].get("labels", {})
    if labels.get(names.KIND) in KINDS and names.RESOURCE in labels:
        return (labels[names.KIND], namespace, labels[names.RESOURCE])
    return None


async def list_all(api: ApiServer, view: View, namespaces: Sequence[str]) -> set[Key]:
    """List everything into the view; return the resources that should look. No namespaces: all of them."""
    changed: set[Key] = set()
    for type_ in TYPES.values():
        for namespace in namespaces or (None,):
            bodies, version = await _list(api, type_, namespace)
            changed |= view.replace(type_, namespace, bodies, version)
    return changed


async def _list(api: ApiServer, type_: Type, namespace: str | None) -> tuple[list[Json], int]:
    query = {"limit": LIST_CHUNK}
    if type_.selector:
        query["labelSelector"] = type_.selector
    bodies: list[Json] = []
    while True:
        answer = await api.read(type_.path(namespace), query)
        # Items of a list leave out what the list already says.
        bodies += [{**item, "apiVersion": type_.api_version, "kind": type_.kind} for item in answer["items"]]
        more = answer["metadata"].get("continue")
        if not more:
            return bodies, int(answer["metadata"]["resourceVersion"])
        query["continue"] = more

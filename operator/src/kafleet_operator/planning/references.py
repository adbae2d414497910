"""What a lane's pods take from ConfigMaps and Secrets that users own, and what is missing of it.

Contents never come here: an object is known by a hash a key, which tells an edit and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from kafleet_operator.planning.connections import SecretKey
from kafleet_operator.planning.manifests import hash_of
from kafleet_operator.planning.observations import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kafleet_operator.planning.connections import Connection
    from kafleet_operator.planning.fleets import Fleet, Lane
    from kafleet_operator.planning.observations import Content

    Seen = Mapping[tuple[str, str], Content | Unknown | None]


@dataclass(frozen=True, slots=True)
class Reference:
    """One place in a spec (`field`) that names a ConfigMap or Secret of the resource's namespace.

    `key` is the one that is needed, None for all of the object; an optional one may be missing.
    """

    kind: str
    name: str
    field: str
    key: str | None = None
    is_optional: bool = False

    def lack(self, content: Content | None) -> str | None:
        """Say in words what is missing, None if nothing is."""
        if self.is_optional or (content is not None and (self.key is None or self.key in content)):
            return None
        if content is None:
            return f"{self.field} names {self.kind} {self.name!r}, which does not exist; create it"
        return f"{self.field} names key {self.key!r}, which {self.kind} {self.name!r} does not have; add it"


def references_of(fleet: Fleet) -> tuple[Reference, ...]:
    """Return every reference of a fleet, in the order of its lanes."""
    return tuple(dict.fromkeys(each for lane in fleet.lanes for each in references_of_lane(fleet, lane)))


def references_of_lane(fleet: Fleet, lane: Lane) -> tuple[Reference, ...]:
    """Return what the pods of a lane refer to."""
    agent, path = lane.agent, f"{lane.path}.agent"
    code = agent.code_config_map
    found = [Reference("ConfigMap", code, f"{path}.code.configMap")] if code else []
    container = {"env": agent.env, "envFrom": agent.env_from}
    return (
        *found,
        *_of_container(container, path),
        *_of_pod(agent.pod_template.get("spec", {}), f"{path}.podTemplate.spec"),
        *_of_connection(fleet.connection),
    )


def lacks_of(references: Iterable[Reference], seen: Seen) -> list[str]:
    """Say what does not exist, or lacks a key; what could not be read is not missing."""
    known = [(each, seen.get((each.kind, each.name))) for each in references]
    lacks = [each.lack(content) for each, content in known if not isinstance(content, Unknown)]
    return [lack for lack in lacks if lack]


def blockers_of(references: Iterable[Reference], seen: Seen) -> list[str]:
    """Name the objects without which no pod can start, or nobody knows whether it can."""
    blocking = [each for each in references if not each.is_optional and _is_unmet(each, seen)]
    return list(dict.fromkeys(f"{each.kind} {each.name!r}" for each in blocking))


def content_hash(references: Iterable[Reference], seen: Seen) -> str | Unknown | None:
    """Return a hash that changes with whatever pods take from their references, None if they have none."""
    used: dict[str, Content | str | None] = {}
    for each in references:
        content = seen.get((each.kind, each.name))
        if isinstance(content, Unknown):
            return content
        used[f"{each.kind}/{each.name}/{each.key or ''}"] = _used(each, content)
    return hash_of(used) if used else None


def _used(reference: Reference, content: Content | None) -> Content | str | None:
    return content if content is None or reference.key is None else content.get(reference.key)


def _is_unmet(reference: Reference, seen: Seen) -> bool:
    content = seen.get((reference.kind, reference.name))
    return isinstance(content, Unknown) or reference.lack(content) is not None


def _of_connection(connection: Connection) -> Iterator[Reference]:
    for part in (connection.authentication, connection.tls):
        for field in fields(part) if part else ():
            secret = getattr(part, field.name)
            if isinstance(secret, SecretKey):
                yield Reference("Secret", secret.secret, secret.field, secret.key)


def _of_pod(spec: Mapping[str, Any], path: str) -> Iterator[Reference]:
    """Read containers and volumes of an overlay."""
    for field in ("containers", "initContainers"):
        for at, container in enumerate(_items(spec, field)):
            yield from _of_container(container, f"{path}.{field}[{at}]")
    for at, volume in enumerate(_items(spec, "volumes")):
        yield from _of_volume(volume, f"{path}.volumes[{at}]")
        projected = volume.get("projected")
        for number, source in enumerate(_items(projected, "sources") if isinstance(projected, dict) else ()):
            yield from _of_volume(source, f"{path}.volumes[{at}].projected.sources[{number}]")


def _of_volume(volume: Mapping[str, Any], path: str) -> Iterator[Reference]:
    """Read a volume, or a source of a projected one: all of an object, or the keys it lists."""
    for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
        source = volume.get(field)
        if not isinstance(source, dict):
            continue
        name, place = source.get("name") or source.get("secretName"), f"{path}.{field}"
        if not isinstance(name, str):
            continue
        for key in [item.get("key") for item in _items(source, "items")] or [None]:
            if key is None or isinstance(key, str):
                yield Reference(kind, name, place, key, is_optional=source.get("optional") is True)


def _of_container(container: Mapping[str, Any], path: str) -> Iterator[Reference]:
    """Read `env` and `envFrom` of a container, tolerantly: what makes no sense, the API server refuses."""
    for at, variable in enumerate(_items(container, "env")):
        source, field = variable.get("valueFrom"), f"{path}.env[{at}].valueFrom"
        yield from _of(
            source, field, {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}, one_key=True
        )
    for at, source in enumerate(_items(container, "envFrom")):
        yield from _of(source, f"{path}.envFrom[{at}]", {"configMapRef": "ConfigMap", "secretRef": "Secret"})


def _of(
    source: Any,  # noqa: ANN401 - any JSON value
    path: str,
    kinds: Mapping[str, str],
    *,
    one_key: bool = False,
) -> Iterator[Reference]:
    """Read what refers to an object by its name, under one of some fields."""
    for field, kind in kinds.items():
        found = source.get(field) if isinstance(source, dict) else None
        if not isinstance(found, dict):
            continue
        name, key = found.get("name"), found.get("key") if one_key else None
        if isinstance(name, str) and name and (key is None or isinstance(key, str)):
            yield Reference(kind, name, f"{path}.{field}", key, is_optional=found.get("optional") is True)


def _items(body: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    listed = body.get(field)
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, (list, tuple)) else []

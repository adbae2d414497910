"""Laying a user's pod template over the generated one, as Kubernetes' strategic merge does.

What the operator must own stays as it was built: `trespasses` names each place where an overlay changes it.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafleet_operator.planning.fleets import Json

OURS = "kafleet.dev/"
# What tells the items of a list apart. The items of other lists are all alike: such a list is replaced.
_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}
# Items of these are merged field by field; of others, half of one item and half of another make no sense.
_DEEP = frozenset({"containers", "initContainers"})
_FIXED = (
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
)


def overlay(base: Any, patch: Any, field: str = "") -> Any:  # noqa: ANN401 - any JSON value
    """Return base with patch over it; null in the patch takes a field away."""
    if isinstance(patch, dict):
        under = base if isinstance(base, dict) else {}
        laid = {name: overlay(under.get(name), each, name) for name, each in patch.items()}
        return {name: value for name, value in {**under, **laid}.items() if value is not None}
    if isinstance(patch, list) and field in _KEYS:
        return _merged(base if isinstance(base, list) else [], patch, field)
    return patch


def _merged(base: list[Any], patch: list[Any], field: str) -> list[Any]:
    items = {_identity(item, field, at): item for at, item in enumerate(base)}
    for at, item in enumerate(patch, len(base)):
        identity = _identity(item, field, at)
        items[identity] = overlay(items.get(identity) if field in _DEEP else None, item)
    return list(items.values())


def _identity(item: Any, field: str, at: int) -> Any:  # noqa: ANN401 - any JSON value
    """Return what tells an item apart; one without it is like no other."""
    found = item.get(_KEYS[field]) if isinstance(item, dict) else None
    return found if isinstance(found, (str, int)) else ("nameless", at)


def trespasses(base: Json, laid: Json, *, container: str, folder: str) -> list[str]:
    """Name the places where a template with an overlay differs from `base` in what is the operator's.

    `container` is the agent's; what it mounts below `folder` is the operator's.
    """
    before, after = (dict(_places(each, base, container, folder)) for each in (base, laid))
    found = [place for place in {**before, **after} if before.get(place) != after.get(place)]
    needed, given = (each["spec"].get("terminationGracePeriodSeconds") for each in (base, laid))
    if not isinstance(given, int) or given < needed:
        found.append(f"spec.terminationGracePeriodSeconds below {needed}")
    return found


def _places(template: Json, base: Json, container: str, folder: str) -> Iterator[tuple[str, Any]]:
    """Return each place that is the operator's, and what is there; nonsense is nothing."""
    for field in ("labels", "annotations"):
        fixed, given = (each["metadata"].get(field, {}) for each in (base, template))
        for name in given:
            if name in fixed or name.startswith(OURS):
                yield f"metadata.{field}[{name}]", given[name]
    own, agent = (_named(each["spec"], container) for each in (base, template))
    yield "spec.restartPolicy", template["spec"].get("restartPolicy")
    for place, value in _places_of_agent(agent, own, folder):
        yield f"spec.containers[{container}].{place}", value
    # A list: what a user gives as a name may be anything.
    volumes = [mount["name"] for mount in _items(own, "volumeMounts") if _is_below(mount, folder)]
    for volume in _items(template["spec"], "volumes"):
        if volume.get("name") in volumes:
            yield f"spec.volumes[{volume['name']}]", volume


def _places_of_agent(agent: Json, own: Json, folder: str) -> Iterator[tuple[str, Any]]:
    for field in _FIXED:
        yield field, agent.get(field)
    for variable in _items(agent, "env"):
        if str(variable.get("name")).startswith("KAFLEET_"):
            yield f"env[{variable['name']}]", variable
    names, numbers = ([port[key] for port in _items(own, "ports")] for key in ("name", "containerPort"))
    for port in _items(agent, "ports"):
        if port.get("name") in names or port.get("containerPort") in numbers:
            yield f"ports[{port.get('containerPort')}]", port
    for mount in _items(agent, "volumeMounts"):
        if _is_below(mount, folder):
            yield f"volumeMounts[{mount['mountPath']}]", mount


def _named(spec: Json, container: str) -> Json:
    return next((each for each in _items(spec, "containers") if each.get("name") == container), {})


def _items(body: Json, field: str) -> list[Json]:
    listed = body.get(field)
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _is_below(mount: Json, folder: str) -> bool:
    path = mount.get("mountPath")
    return isinstance(path, str) and f"{posixpath.normpath(path)}/".startswith(f"{folder}/")

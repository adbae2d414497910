"""Telling whether an object still is what was applied last, so that an unchanged one costs no request."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from kafleet_operator.planning import names

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Json


def is_in_place(manifest: Json, seen: Json | None) -> bool:
    """Tell whether applying a manifest would change nothing that is ours.

    The seen object's hash tells what was applied last; the comparison finds what others changed since. Fields
    that others added are theirs, as in server-side apply.
    """
    if seen is None or not is_last_applied(manifest, seen):
        return False
    # What comes from a list has neither kind nor version.
    return all(_holds(seen.get(key), manifest[key], key) for key in manifest.keys() - {"apiVersion", "kind"})


def is_last_applied(manifest: Json, seen: Json) -> bool:
    """Tell whether exactly this manifest was applied last, whatever others did to the object since."""
    applied = (seen["metadata"].get("annotations") or {}).get(names.MANIFEST_HASH)
    return bool(applied == manifest["metadata"]["annotations"][names.MANIFEST_HASH])


def _holds(seen: Any, wished: Any, field: str = "") -> bool:  # noqa: ANN401 - any JSON value
    if seen is None:
        return _is_left_out(wished, field)
    if isinstance(wished, dict):
        return isinstance(seen, dict) and all(
            _holds(seen.get(name), value, name) for name, value in wished.items()
        )
    if isinstance(wished, list):
        return isinstance(seen, list) and all(_holds(_partner(seen, item), item) for item in wished)
    if seen == wished:
        return True
    # The API server writes quantities its own way: 1 becomes "1", "1000m" too.
    amount = _quantity(seen)
    return amount is not None and amount == _quantity(wished)


def _is_left_out(wished: Any, field: str) -> bool:  # noqa: ANN401 - any JSON value
    """Tell whether the API server leaves a value out that says no more than its absence."""
    if isinstance(wished, bool):
        return not wished and field in _FLAGS
    return wished in ("", [], 0) or (wished == {} and field in _MAPS)


def _partner(items: list[Any], wished: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Find the list item that a wished one became: by key as Kubernetes merges, else the equal one."""
    for key in ("uid", "mountPath", "devicePath", "name", "containerPort"):
        if isinstance(wished, dict) and key in wished:
            return next(
                (item for item in items if isinstance(item, dict) and item.get(key) == wished[key]), None
            )
    return next((item for item in items if _holds(item, wished)), None)


# Flags and maps of a pod that are gone where they are false, or empty; of others absence says something else.
_FLAGS = frozenset({"hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "stdinOnce", "tty"})
_MAPS = frozenset({"labels", "annotations", "matchLabels", "nodeSelector", "limits", "requests"})
_UNITS = {
    **{
        unit: Decimal(1000) ** power
        for power, unit in enumerate(["n", "u", "m", "", "k", "M", "G", "T", "P", "E"], -3)
    },
    **{unit: Decimal(1024) ** power for power, unit in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], 1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i|)")


def _quantity(value: Any) -> Decimal | None:  # noqa: ANN401 - any JSON scalar
    """Read a Kubernetes quantity; None for anything else."""
    match = _QUANTITY.fullmatch(str(value))
    try:
        return Decimal(match[1]) * _UNITS[match[2]] if match else None
    except InvalidOperation:
        return None

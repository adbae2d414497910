"""Payloads: bytes to what a handler's annotation asks for, and what it returns to bytes. Pure."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, NewType, Union, get_args, get_origin

from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_json

Decoder = Callable[[bytes | None], object]
_FAULTS_SHOWN = 5


class InvalidPayload(ValueError):
    """The record's value does not fit the handler's annotation."""


def decoder_for(annotation: object) -> Decoder:
    """Return what turns a record's value into this annotation, or raise TypeError if nothing can.

    `bytes` gets the value as it is and `str` its UTF-8 text; anything else is JSON, validated by pydantic.
    A tombstone (no value at all) is None where the annotation allows None.
    """
    members = _members(annotation)
    wanted = [member for member in members if member is not types.NoneType]
    is_raw = len(wanted) == 1 and wanted[0] in (bytes, str)
    read = _raw_reader(wanted[0], annotation) if is_raw else _adapter(annotation).validator.validate_json
    takes_none = types.NoneType in members

    def decode(value: bytes | None) -> object:
        if value is None:
            if takes_none:
                return None
            raise InvalidPayload(
                "the record has no value (a tombstone), and the handler's annotation does not allow None"
            )
        try:
            return read(value)
        except ValidationError as error:
            raise InvalidPayload(_faults(error)) from None

    return decode


def encoded(value: object) -> tuple[bytes, str]:
    """Return a value as bytes, and its content type; raises pydantic's error if it has no JSON."""
    if isinstance(value, bytes):
        return value, "application/octet-stream"
    if isinstance(value, str):
        return value.encode(), "text/plain; charset=utf-8"
    return to_json(value, inf_nan_mode="null"), "application/json"


def kind_of(value: object) -> str:
    """Return the ce_type of a value that names none: its class for models and dataclasses, else `result`."""
    return _kind_of_class(type(value))  # type: ignore[arg-type] # mypy sees how instances are hashed


@lru_cache(maxsize=256)
def _kind_of_class(kind: type) -> str:
    return kind.__name__ if issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) else "result"


def _members(annotation: Any) -> list[object]:  # noqa: ANN401 - any type at all
    """Return what a value may be: the members of a union, with aliases and `Annotated` taken off."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):  # `type X = …`: Python 3.11 has no class for it
            annotation = annotation.__value__
        elif get_origin(annotation) in (Union, types.UnionType):
            return [found for member in get_args(annotation) for found in _members(member)]
        else:
            return [annotation]


def _raw_reader(kind: object, annotation: object) -> Callable[[bytes], object]:
    """Read `bytes` or `str`, and hold it against what the annotation asks for beyond that."""
    read: Callable[[bytes], object] = bytes if kind is bytes else _text
    if annotation in (kind, kind | None):  # type: ignore[operator]
        return read
    adapter = _adapter(annotation)
    return lambda value: adapter.validate_python(read(value))


def _adapter(annotation: Any) -> TypeAdapter[object]:  # noqa: ANN401 - any type at all
    try:
        return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TypeError(str(error).splitlines()[0]) from None


def _faults(error: ValidationError) -> str:
    """Say where and what, but never the input itself: it may hold what nobody should log."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'value'}: {fault['msg']}"
        for fault in faults[:_FAULTS_SHOWN]
    ]
    more = len(faults) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidPayload(f"the value is not UTF-8: {error.reason} at byte {error.start}") from None

"""What came of one attempt at a record. The dispatcher decides what happens next."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafleet.records import Headers, Outgoing


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as people and dead letters see it; `kind` is the error's class.

    `tracing` are the headers by which its trace is found, if there is one.
    """

    kind: str
    message: str
    traceback: str = ""
    tracing: Headers = ()

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        return cls(name, str(error) or name, "".join(traceback.format_exception(error)))


@dataclass(slots=True)  # not frozen: one is made for each record, and that would cost twice as much
class Finished:
    """The handler ended well; the record is settled when these are acknowledged."""

    outgoing: tuple[Outgoing, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """No attempt will help: a dead letter at once. `was_called` tells whether the handler saw the record."""

    reason: str
    fault: Fault
    was_called: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """This attempt failed; it counts, and the record is tried again."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Postponed:
    """The handler wants the record again after so many seconds; does not count."""

    after: float


@dataclass(frozen=True, slots=True)
class Saturated:
    """The provider is full: this replica starts nothing for so many seconds; does not count."""

    after: float


Verdict = Finished | Refused | Failed | Postponed | Saturated

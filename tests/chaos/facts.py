"""What is known of a chaos run when it is judged. Nothing of Kafleet is imported.

Times are seconds of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaos.owners import Owners

NO_KEY: Final = ""
"""The key of records without one: they have no order."""
EVERYBODY: Final = ""
"""Whom an absence is about that concerns all processes, a broker's restart say."""
CLOCK_SECONDS: Final = 0.01
"""How much the brokers' stamps may be off: they are whole milliseconds."""


class Identity(NamedTuple):
    """Names a record: the `sequence` counts from 0 within its key."""

    key: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.key or 'no key'}/{self.sequence}"


class Input(NamedTuple):
    """A record of the inbox; `is_poison` where a dead letter must come of it instead of an answer."""

    identity: Identity
    partition: int
    is_poison: bool


class Output(NamedTuple):
    """An answer or a dead letter, as a read-committed reader finds it; `process` made it, if it says so."""

    identity: Identity
    appended: float
    process: str


class Attempt(NamedTuple):
    """One call of the handler. `ended` is None where the process did not live to tell."""

    identity: Identity
    process: str
    started: float
    ended: float | None
    is_answered: bool


class Absence(NamedTuple):
    """Why a process was gone or cut off, and when.

    `is_death` ends the process at `began`. `is_expelled` where it was away for longer than the session: its
    partitions are somebody else's, and it may not know until some time after `ended`.
    """

    process: str
    began: float
    ended: float
    is_death: bool
    is_expelled: bool


@dataclass(slots=True)
class Evidence:
    """What is known of a run, or of all records of some of its keys.

    Inputs and outputs are in the order of each partition's log. `commits` tells when the group committed, by
    partition, ascending; `complaints` what whoever made the run saw go wrong, a process that did not leave
    in good order say. `owners` is needed with some of the keys only: else it follows from the rest.
    """

    inputs: Sequence[Input]
    answers: Sequence[Output]
    dead_letters: Sequence[Output]
    attempts: Sequence[Attempt] = ()
    absences: Sequence[Absence] = ()
    commits: Mapping[int, Sequence[float]] = field(default_factory=dict)
    complaints: Sequence[str] = ()
    owners: Owners | None = None


class Expelled:
    """Which processes were away for longer than their session, and when."""

    def __init__(self, absences: Iterable[Absence]) -> None:
        self._spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for absence in absences:
            if absence.is_expelled:
                self._spans[absence.process].append((absence.began, absence.ended))

    def has(self, process: str, moment: float) -> bool:
        return any(began <= moment <= ended for began, ended in self.spans(process))

    def spans(self, process: str) -> Sequence[tuple[float, float]]:
        return self._spans.get(process, ())

"""All that is known of a run, sorted by key into files, so that one part after another fits into memory.

Nothing of Kafleet is imported here.
"""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self
from zlib import crc32

from chaos.facts import NO_KEY, Attempt, Evidence, Identity, Input, Output
from chaos.owners import Owners

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from chaos.facts import Absence

RECORDS: Final = 25_000
"""How many records a pile has, about."""


class _Kind(StrEnum):
    INPUT = "input"
    ANSWER = "answer"
    DEAD_LETTER = "dead-letter"
    ATTEMPT = "attempt"


class Piles:
    """A context manager; what is added of one key goes to one pile, in the order in which it is added."""

    def __init__(self, folder: Path, records: int) -> None:
        self._files = [folder / f"{number}.pile" for number in range(records // RECORDS + 1)]
        self._open = contextlib.ExitStack()
        self._partitions: dict[str, int] = {}  # of each key
        self._owners = Owners()

    def __enter__(self) -> Self:
        self._writers = [self._open.enter_context(file.open("w")) for file in self._files]
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add_inputs(self, inputs: Iterable[Input]) -> None:
        """Add the inbox, before the attempts."""
        for identity, partition, is_poison in inputs:
            self._partitions[identity.key] = partition
            self._add(identity, _Kind.INPUT, partition, int(is_poison))

    def add_answers(self, answers: Iterable[Output]) -> None:
        for identity, appended, process in answers:
            self._add(identity, _Kind.ANSWER, appended, process)

    def add_dead_letters(self, letters: Iterable[Output]) -> None:
        for identity, appended, process in letters:
            self._add(identity, _Kind.DEAD_LETTER, appended, process)

    def add_attempts(self, attempts: Iterable[Attempt]) -> None:
        """Add what one process did, in the order of time: each as it begins, and again once it has ended."""
        for identity, process, started, ended, is_answered in attempts:
            if ended is None and identity.key != NO_KEY and identity.key in self._partitions:
                self._owners.note(self._partitions[identity.key], process, started)
            self._add(
                identity, _Kind.ATTEMPT, process, started, "" if ended is None else ended, int(is_answered)
            )

    def parts(
        self,
        absences: Sequence[Absence],
        complaints: Sequence[str],
        commits: Mapping[int, Sequence[float]],
    ) -> Iterator[Evidence]:
        """Return one pile after the other; the complaints come with the first."""
        for writer in self._writers:
            writer.flush()
        for number, file in enumerate(self._files):
            part = Evidence([], [], [], [], absences, commits, () if number else complaints, self._owners)
            _fill(part, file)
            yield part

    def _add(self, identity: Identity, *rest: object) -> None:
        key, sequence = identity
        name = f"{key} {sequence}"
        pile = crc32((name if key == NO_KEY else key).encode()) % len(self._writers)
        print(name, *rest, file=self._writers[pile])


def _fill(part: Evidence, file: Path) -> None:
    inputs, answers, letters = [], [], []
    attempts: dict[tuple[Identity, str, str], Attempt] = {}
    names: dict[tuple[str, str], Identity] = {}
    with file.open() as lines:
        for line in lines:
            key, sequence, kind, *rest = line.rstrip("\n").split(" ")
            identity = names.setdefault((key, sequence), Identity(key, int(sequence)))
            match kind:
                case _Kind.INPUT:
                    inputs.append(Input(identity, int(rest[0]), rest[1] == "1"))
                case _Kind.ANSWER:
                    answers.append(Output(identity, float(rest[0]), rest[1]))
                case _Kind.DEAD_LETTER:
                    letters.append(Output(identity, float(rest[0]), rest[1]))
                case _Kind.ATTEMPT:
                    process, started, ended, is_answered = rest
                    end = float(ended) if ended else None
                    attempt = Attempt(identity, process, float(started), end, is_answered == "1")
                    attempts[identity, process, started] = attempt
    part.inputs, part.answers, part.dead_letters = inputs, answers, letters
    part.attempts = list(attempts.values())

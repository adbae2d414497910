"""What an oracle has found. Nothing of Kafleet is imported."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

_SHOWN: Final = 10


@dataclass(slots=True)
class Finding:
    """How often something was found, and the first few cases."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self._add(1, [example])

    def merge(self, other: Finding) -> None:
        self._add(other.count, other.examples)

    def _add(self, count: int, examples: list[str]) -> None:
        self.count += count
        self.examples += examples[: _SHOWN - len(self.examples)]


@dataclass(slots=True)
class Death:
    """What one process left behind.

    `in_flight` handlers were cut off; `forgettable` outcomes no commit before the death can have known of;
    `repeated` are records that it had done and that were worked on again because of it.
    """

    in_flight: int = 0
    forgettable: int = 0
    repeated: int = 0

    def merge(self, other: Death) -> None:
        self.in_flight += other.in_flight
        self.forgettable += other.forgettable
        self.repeated += other.repeated

    @property
    def is_within_bounds(self) -> bool:
        return self.repeated <= self.forgettable


@dataclass(slots=True)
class Judgement:
    """What a run broke, and what it was allowed to do.

    `repeated` counts answers and dead letters beyond the first, `reworked` attempts at records that had been
    answered; `needless` are those of them that the commits before the death did not excuse.

    Order within a key is broken in three ways: `disordered` are answers, as a read-committed reader finds
    them, `hasty` handlers that begin before what comes before is done, `overlapped` those that begin beside
    another one. Where a process had to do with it that had been away for longer than its session, they are
    counted apart.
    """

    records: int = 0
    unread: Finding = field(default_factory=Finding)
    lost: Finding = field(default_factory=Finding)
    invented: Finding = field(default_factory=Finding)
    misjudged: Finding = field(default_factory=Finding)
    disordered: Finding = field(default_factory=Finding)
    disordered_by_expelled: Finding = field(default_factory=Finding)
    hasty: Finding = field(default_factory=Finding)
    hasty_by_expelled: Finding = field(default_factory=Finding)
    overlapped: Finding = field(default_factory=Finding)
    overlapped_by_expelled: Finding = field(default_factory=Finding)
    needless: Finding = field(default_factory=Finding)
    uncommitted: Finding = field(default_factory=Finding)
    repeated: Finding = field(default_factory=Finding)
    complaints: Finding = field(default_factory=Finding)
    reworked: int = 0
    deaths: dict[str, Death] = field(default_factory=dict)
    """By process."""

    def merge(self, other: Judgement) -> None:
        """Add what was found of other keys."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Finding):
                mine.merge(theirs)
        self.records += other.records
        self.reworked += other.reworked
        for process, death in other.deaths.items():
            self.deaths.setdefault(process, Death()).merge(death)

    def problems(self, *, is_exactly_once: bool = False) -> dict[str, Finding]:
        """Return what must not be, by what it is called."""
        findings = {
            "lost": self.lost,
            "invented": self.invented,
            "answer instead of dead letter or the reverse": self.misjudged,
            "answered out of order": self.disordered,
            "begun out of order": self.hasty,
            "overlapping in one key": self.overlapped,
            "repeated although committed before": self.needless,
            "more repeated than a death explains": self._unbounded(),
            "not committed in time": self.uncommitted,
            "input broken": self.unread,
            "processes in bad order": self.complaints,
        }
        if is_exactly_once:
            findings["repeated"] = self.repeated
            # What handlers of who is expelled have done, nobody can undo; that it shows, transactions can.
            findings["answered out of order by expelled processes"] = self.disordered_by_expelled
        return {name: finding for name, finding in findings.items() if finding.count}

    def _unbounded(self) -> Finding:
        finding = Finding()
        for process, death in self.deaths.items():
            if not death.is_within_bounds:
                finding.add(f"{death.repeated} of {process}, and not {death.forgettable}")
        return finding

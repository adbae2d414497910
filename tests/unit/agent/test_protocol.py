"""Takeover, commit and acknowledgement as a model, crashed at every step: all histories of a small size.

Brokers and wire are values here; what an owner knows and commits is in the engine's own offset map and commit
metadata. Each model is also run with a rule of the protocol left out, and must then find what goes wrong.
`HISTORIES` in the environment, from 2 to 4, tries more sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from unit.agent.models import (
    CONCURRENCY,
    KEYS,
    NONE,
    NOTHING,
    Broken,
    Committed,
    Offsets,
    Owner,
    explore,
    position_of,
    subsets,
)
from unit.agent.samples import THOROUGHNESS

from kafleet.commitmetadata import progress_from
from kafleet.takeovers import marked

if TYPE_CHECKING:
    from collections.abc import Iterator

# At least once: outputs and commits travel apart from each other.


@dataclass(frozen=True, slots=True)
class Log:
    """The brokers, the wire, and at most one owner. `written` counts outputs by offset."""

    committed: Committed = NOTHING
    epoch: int = 0  # that the coordinator believes
    written: tuple[int, ...] = (0,) * len(KEYS)
    outputs: Offsets = NONE  # of the owner, on the wire
    commit: tuple[int, Committed] | None = None  # of epoch and position, on the wire
    answer: tuple[Committed, Offsets] | None = None  # what was acknowledged to the owner, on the wire
    owner: Owner | None = None
    heard: Offsets = NONE  # settled, and acknowledged to have been committed as such
    deaths: int = 2  # that may still happen
    failures: int = 1
    moves: int = 1  # in good order, that may still happen
    unclean: int = 0  # owners that died with records at hand


@dataclass(frozen=True)
class AtLeastOnce:
    """The protocol's rules; each may be left out."""

    marks_first: bool = True  # commit "one more may die" before anything is read
    settles_when_acknowledged: bool = True  # and not when written
    remembers: bool = True  # the metadata beside the committed offset is read
    fences: bool = True  # the coordinator refuses commits of an assignment that is over

    def steps(self, log: Log) -> Iterator[tuple[str, Log]]:
        owner = log.owner
        if log.commit is not None:
            yield from self.commit_arrives(log)
        if owner is None:
            if self.is_done(log):
                return
            start = log.committed if self.remembers else Committed(log.committed.offset, "")
            counts = progress_from(*start).failed
            failed = tuple(counts.get(offset, 0) for offset in range(len(KEYS)))
            new = Owner(log.epoch + 1, start=start, fetched=start.offset, failed=failed)
            yield "takeover", replace(log, owner=new, epoch=new.epoch, answer=None)
            return
        if log.deaths:
            yield from self.deaths(log, owner)
        assert owner.start is not None
        if self.marks_first and not owner.is_marked:
            mark = Committed(owner.start.offset, marked(*owner.start))
            yield "mark", replace(log, committed=mark, owner=replace(owner, start=mark, is_marked=True))
            return
        yield from self.work(log, owner)
        yield from self.commits(log, owner)

    def work(self, log: Log, owner: Owner) -> Iterator[tuple[str, Log]]:
        if owner.fetched < len(KEYS) and not owner.is_leaving:
            yield "fetch", replace(log, owner=replace(owner, fetched=owner.fetched + 1))
        if len(owner.running | owner.ended) < CONCURRENCY and not owner.is_leaving:
            for offset in owner.startable():
                yield f"start {offset}", replace(log, owner=replace(owner, running=owner.running | {offset}))
        for offset in owner.running:
            rest = owner.running - {offset}
            settled = owner.settled if self.settles_when_acknowledged else owner.settled | {offset}
            done = replace(owner, running=rest, ended=owner.ended | {offset}, settled=settled)
            yield f"end {offset}", replace(log, owner=done, outputs=log.outputs | {offset})
            if log.failures:
                failed = tuple(count + (each == offset) for each, count in enumerate(owner.failed))
                again = replace(owner, running=rest, failed=failed)
                yield f"fail {offset}", replace(log, owner=again, failures=log.failures - 1)
        for offset in log.outputs:
            yield f"output {offset} arrives", self.arrived(log, offset)
        for offset in owner.ended - log.outputs:
            acknowledged = replace(owner, ended=owner.ended - {offset}, settled=owner.settled | {offset})
            yield f"output {offset} acknowledged", replace(log, owner=acknowledged)

    def arrived(self, log: Log, offset: int) -> Log:
        written = tuple(count + (each == offset) for each, count in enumerate(log.written))
        return replace(log, outputs=log.outputs - {offset}, written=written)

    def commits(self, log: Log, owner: Owner) -> Iterator[tuple[str, Log]]:
        if log.answer is not None:
            yield "commit acknowledged", replace(log, answer=None, heard=log.heard | log.answer[1])
        elif log.commit is None and position_of(owner) != log.committed:
            yield "commit", replace(log, commit=(owner.epoch, position_of(owner)))
        if not owner.is_leaving and (log.moves or (not owner.unsettled and owner.fetched == len(KEYS))):
            leaving = replace(owner, is_leaving=True)
            yield "revoke", replace(log, owner=leaving, moves=max(0, log.moves - 1))
        elif (
            owner.is_leaving
            and not owner.running
            and not owner.ended
            and log.commit is None
            and log.answer is None
        ):
            yield "leave", replace(log, owner=None, committed=position_of(owner, is_closed=True))

    def commit_arrives(self, log: Log) -> Iterator[tuple[str, Log]]:
        assert log.commit is not None
        epoch, position = log.commit
        yield "commit gets lost", replace(log, commit=None)
        if epoch != log.epoch and self.fences:
            yield "commit is refused", replace(log, commit=None)
            return
        kept = replace(log, commit=None, committed=position)
        yield "commit arrives", replace(kept, answer=(position, position.claims) if log.owner else None)

    def deaths(self, log: Log, owner: Owner) -> Iterator[tuple[str, Log]]:
        """Die: what is on the wire may still arrive, or not."""
        assert owner.start is not None
        unclean = log.unclean + (owner.fetched > owner.start.offset)
        for arriving in subsets(log.outputs):
            dead = replace(log, owner=None, answer=None, deaths=log.deaths - 1, unclean=unclean)
            for offset in arriving:
                dead = self.arrived(dead, offset)
            yield f"death, {sorted(arriving)} arrive", replace(dead, outputs=NONE)

    def fault(self, log: Log) -> str | None:
        """Return the promise that is broken, if any."""
        missing = [each for each in log.committed.claims if not log.written[each]]
        if missing:
            return f"{missing} are committed as settled, and their output is nowhere"
        if not log.heard <= log.committed.claims:
            return f"{sorted(log.heard - log.committed.claims)} were committed, and are forgotten"
        if log.written[1] and not log.written[0]:
            return "a key's second record came before its first"
        owner = log.owner
        if owner is not None and owner.start is not None:
            again = (owner.running | owner.ended) & owner.start.claims
            if again:
                return f"{sorted(again)} were committed as settled, and run again"
        known = progress_from(*log.committed).unclean
        return f"{log.unclean} owners died, and {known} are known" if known < log.unclean else None

    def is_done(self, log: Log) -> bool:
        return log.committed.offset == len(KEYS) and log.owner is None


# In transactions: outputs and positions become visible together.


@dataclass(frozen=True, slots=True)
class Open:
    """A transaction at its coordinator: the outputs in it, and the position once that was sent."""

    outputs: Offsets
    position: Committed | None = None


@dataclass(frozen=True, slots=True)
class Coordinator:
    """The brokers, the wire, and at most one owner; two pods, each with a transactional id of its own."""

    committed: Committed = NOTHING
    visible: tuple[int, ...] = (0,) * len(KEYS)  # outputs by offset, for readers of what is committed
    producers: tuple[int, int] = (0, 0)  # the epoch of each id
    opened: tuple[Open | None, Open | None] = (None, None)
    ends: tuple[int | None, int | None] = (None, None)  # requests to commit, on the wire: of which epoch
    owner: Owner | None = None
    pod: int = 0  # the owner's
    batch: Offsets = NONE  # in the owner's transaction
    is_asked: bool = False  # to end it, and the answer is not there
    is_committed: bool = False  # as the answer on the wire says
    deaths: int = 1
    silences: int = 1  # answers that may stay away

    def with_pod(self, **values: object) -> Coordinator:
        """Change what belongs to the owner's pod."""
        changed: dict[str, Any] = {}
        for name, value in values.items():
            both = list(getattr(self, name))
            both[self.pod] = value
            changed[name] = tuple(both)
        return replace(self, **changed)


@dataclass(frozen=True)
class ExactlyOnce:
    """The protocol's rules; each may be left out."""

    reads_stable: bool = True  # a takeover waits for open transactions that hold positions
    takes_new_epoch: bool = True  # after an answer that stayed away
    adds_positions: bool = True  # to the transaction that holds the outputs, and not in a commit behind it

    def steps(self, log: Coordinator) -> Iterator[tuple[str, Coordinator]]:
        for pod in (0, 1):
            yield from self.end_arrives(log, pod)
        owner = log.owner
        if owner is None:
            if not self.is_done(log):
                yield from self.takeovers(log)
            return
        if log.deaths:
            dead = replace(log, owner=None, batch=NONE, is_asked=False, is_committed=False)
            yield "death", replace(dead, deaths=log.deaths - 1)
        yield from self.work(log, owner)
        yield from self.transact(log, owner)

    def takeovers(self, log: Coordinator) -> Iterator[tuple[str, Coordinator]]:
        for pod in (0, 1):
            if log.opened[1 - pod] is not None:
                other = replace(log, pod=1 - pod)
                yield "operator fences", other.with_pod(producers=log.producers[1 - pod] + 1, opened=None)
            epoch = log.producers[pod] + 1
            fenced = replace(log, pod=pod).with_pod(producers=epoch, opened=None)
            if self.reads_stable and any(each and each.position for each in fenced.opened):
                continue
            start = Committed(log.committed.offset, marked(*log.committed))
            new = Owner(epoch, start=start, is_marked=True, fetched=start.offset)
            yield f"takeover by {pod}", replace(fenced, committed=start, owner=new)

    def work(self, log: Coordinator, owner: Owner) -> Iterator[tuple[str, Coordinator]]:
        if owner.fetched < len(KEYS):
            yield "fetch", replace(log, owner=replace(owner, fetched=owner.fetched + 1))
        if len(owner.running | owner.ended) < CONCURRENCY:
            for offset in owner.startable():
                yield f"start {offset}", replace(log, owner=replace(owner, running=owner.running | {offset}))
        for offset in owner.running:
            done = replace(owner, running=owner.running - {offset}, ended=owner.ended | {offset})
            yield f"end {offset}", replace(log, owner=done)

    def transact(self, log: Coordinator, owner: Owner) -> Iterator[tuple[str, Coordinator]]:
        mine = log.opened[log.pod]
        if log.is_asked:
            if log.is_committed:
                yield "answer", self.told(log, owner)
            if log.silences:
                yield "silence", self.recovered(replace(log, silences=log.silences - 1), owner)
            return
        if not log.batch and owner.ended:
            opened = Open(owner.ended)
            yield "outputs written", replace(log, batch=owner.ended).with_pod(opened=opened)
        elif mine is not None and mine.position is None and self.adds_positions:
            with_position = replace(mine, position=position_of(owner, log.batch))
            yield "positions sent", log.with_pod(opened=with_position)
        elif mine is not None:
            yield "end sent", replace(log, is_asked=True).with_pod(ends=owner.epoch)
        if owner.settled and position_of(owner) != log.committed and not self.adds_positions:
            yield "positions committed", replace(log, committed=position_of(owner))
        if owner.fetched == len(KEYS) and not owner.unsettled and not log.batch:
            last = position_of(owner, is_closed=True)
            yield "leave", replace(log, owner=None, committed=last)

    def end_arrives(self, log: Coordinator, pod: int) -> Iterator[tuple[str, Coordinator]]:
        epoch = log.ends[pod]
        if epoch is None:
            return
        here = replace(log, pod=pod).with_pod(ends=None)
        opened = here.opened[pod]
        if epoch == log.producers[pod] and opened is not None:
            visible = tuple(count + (each in opened.outputs) for each, count in enumerate(log.visible))
            here = replace(here, visible=visible, committed=opened.position or log.committed)
            here = here.with_pod(opened=None)
            here = replace(here, is_committed=log.is_asked and log.pod == pod)
        yield "end arrives", replace(here, pod=log.pod)

    def told(self, log: Coordinator, owner: Owner) -> Coordinator:
        """Settle what was in the transaction."""
        settled = replace(owner, ended=owner.ended - log.batch, settled=owner.settled | log.batch)
        return replace(log, owner=settled, batch=NONE, is_asked=False, is_committed=False)

    def recovered(self, log: Coordinator, owner: Owner) -> Coordinator:
        """Go on after an answer that stayed away."""
        if not self.takes_new_epoch:  # as a naive client does: abort, and go on
            return replace(log, batch=NONE, is_asked=False, is_committed=False).with_pod(opened=None)
        epoch = log.producers[log.pod] + 1
        fenced = log.with_pod(producers=epoch, opened=None)
        fenced = replace(fenced, owner=replace(owner, epoch=epoch))
        if log.batch <= log.committed.claims:  # read back
            return self.told(fenced, fenced.owner or owner)
        return replace(fenced, batch=NONE, is_asked=False, is_committed=False)

    def fault(self, log: Coordinator) -> str | None:
        """Return the promise that is broken, if any."""
        twice = [offset for offset, count in enumerate(log.visible) if count > 1]
        if twice:
            return f"{twice} are seen twice"
        missing = [each for each in log.committed.claims if not log.visible[each]]
        if missing:
            return f"{missing} are committed as settled, and their output is not seen"
        if log.visible[1] and not log.visible[0]:
            return "a key's second record came before its first"
        return None

    def is_done(self, log: Coordinator) -> bool:
        return log.committed.offset == len(KEYS) and log.owner is None


SIZES = [
    Log(deaths=1, failures=0, moves=1),
    Log(deaths=2, failures=0, moves=0),
    Log(deaths=1, failures=1, moves=0),
    Log(deaths=2, failures=1, moves=1),
]


@pytest.mark.parametrize("log", SIZES[:THOROUGHNESS])
def test_crashed_at_every_step_nothing_is_lost_repeated_without_need_or_out_of_order(log: Log) -> None:
    rules = AtLeastOnce()

    assert explore(log, rules.steps, rules.fault, rules.is_done) > 10_000


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        (AtLeastOnce(marks_first=False), "1 owners died, and 0 are known"),
        (
            AtLeastOnce(settles_when_acknowledged=False),
            "are committed as settled, and their output is nowhere",
        ),
        (AtLeastOnce(remembers=False), "were committed, and are forgotten|are known"),
        (AtLeastOnce(fences=False), "were committed, and are forgotten"),
    ],
)
def test_each_rule_of_at_least_once_is_needed(rules: AtLeastOnce, what: str) -> None:
    with pytest.raises(Broken, match=what):
        explore(Log(deaths=1, failures=0, moves=0), rules.steps, rules.fault, rules.is_done)


def test_in_transactions_crashed_at_every_step_each_output_is_seen_once() -> None:
    rules = ExactlyOnce()

    assert explore(Coordinator(), rules.steps, rules.fault, rules.is_done) > 10_000


@pytest.mark.parametrize(
    "rules",
    [ExactlyOnce(reads_stable=False), ExactlyOnce(takes_new_epoch=False), ExactlyOnce(adds_positions=False)],
)
def test_each_rule_of_exactly_once_is_needed(rules: ExactlyOnce) -> None:
    with pytest.raises(Broken, match="are seen twice"):
        explore(Coordinator(), rules.steps, rules.fault, rules.is_done)

"""What may be committed is the first offset that is not settled; the settled ones above it are remembered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kafleet.commitmetadata import Progress, metadata_of, progress_from
from kafleet.offsetmaps import OffsetMap

offsets = st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True).map(sorted)


def known(offset_map: OffsetMap) -> set[int]:
    return {offset for each in offset_map.settled() for offset in each}


def test_nothing_known_is_nothing_to_commit() -> None:
    assert OffsetMap().position is None
    assert OffsetMap().settled() == []


def test_the_first_offset_fetched_is_a_position_before_it_is_settled() -> None:
    offsets_ = OffsetMap()
    offsets_.fetch(500)

    assert offsets_.position == 500


def test_an_assignment_begins_at_the_committed_offset() -> None:
    assert OffsetMap(500).position == OffsetMap(500).next_offset == 500


def test_what_an_earlier_owner_settled_is_not_worked_on_again() -> None:
    offsets_ = OffsetMap(100, [range(102, 104), range(110, 120)])

    assert [offset for offset in range(100, 121) if offsets_.fetch(offset)] == [
        *(100, 101),
        *range(104, 110),
        120,
    ]


def test_a_successor_that_has_read_little_still_knows_all_that_was_settled() -> None:
    offsets_ = OffsetMap(100, [range(102, 104), range(110, 120)])
    offsets_.fetch(100)
    offsets_.fetch(101)

    assert offsets_.settled() == [range(102, 104), range(110, 120)]
    offsets_.settle(101)
    assert offsets_.settled() == [range(101, 104), range(110, 120)]
    offsets_.settle(100)
    assert offsets_.position == 104
    assert offsets_.settled() == [range(110, 120)]


def test_an_end_behind_the_last_record_is_a_position_once_all_is_settled() -> None:
    offsets_ = OffsetMap(100, [range(101, 103)])
    offsets_.fetch(100)
    offsets_.reach(105)

    assert (offsets_.position, offsets_.settled()) == (100, [range(101, 105)])
    offsets_.settle(100)
    assert (offsets_.position, offsets_.settled()) == (105, [])
    offsets_.reach(103)
    assert offsets_.position == 105


def test_offsets_that_no_record_fills_count_as_settled() -> None:
    offsets_ = OffsetMap(10)
    for offset in (10, 12, 15):
        offsets_.fetch(offset)

    assert offsets_.settled() == [range(11, 12), range(13, 15)]


@settings(deadline=None)
@given(st.data())
def test_the_position_is_never_past_an_unsettled_offset_and_in_the_end_past_all(data: st.DataObject) -> None:
    fetched = data.draw(offsets)
    order = data.draw(st.permutations(fetched))
    offset_map, unsettled, last = OffsetMap(), set(fetched), 0
    for offset in fetched:
        offset_map.fetch(offset)
    for offset in order:
        ahead = offset_map.after({offset})
        offset_map.settle(offset)
        assert (ahead.position, ahead.settled()) == (offset_map.position, offset_map.settled())
        unsettled.remove(offset)
        position = offset_map.position
        assert position is not None
        assert position == min(unsettled, default=fetched[-1] + 1)
        assert position >= last
        assert known(offset_map) == set(range(position, fetched[-1] + 1)) - unsettled
        last = position

    assert offset_map.position == fetched[-1] + 1


def test_an_offset_that_comes_again_is_refused() -> None:
    offset_map = OffsetMap()
    offset_map.fetch(7)

    with pytest.raises(ValueError, match="offset 7 was fetched already, 8 is next"):
        offset_map.fetch(7)


class Takeovers(RuleBasedStateMachine):
    """One partition, its log, and owners that die and are followed by others, with commits that get lost.

    The log knows nothing of maps: it counts which offsets were worked on to their end, and what of that an
    acknowledged commit could have known.
    """

    @initialize(start=st.sampled_from([0, 1, 127, 128, 1_000_000]))
    def begin(self, start: int) -> None:
        self.start = self.end = start
        self.holes: set[int] = set()
        self.done: set[int] = set()  # by anybody
        self.remembered: set[int] = set()  # known done when the last acknowledged commit was built
        self.failures: dict[int, int] = {}
        self.failures_remembered: dict[int, int] = {}
        self.commit: tuple[int, str] | None = None
        self.take_over()

    def take_over(self) -> None:
        progress = Progress() if self.commit is None else progress_from(*self.commit)
        first = None if self.commit is None else self.commit[0]
        self.map = OffsetMap(first, progress.settled)
        self.read = self.start if first is None else first
        self.unsettled: set[int] = set()
        self.known = set(self.remembered)  # to this owner
        self.failed = dict(progress.failed)
        assert self.failed == self.failures_remembered

    @rule(count=st.integers(1, 40), hole=st.integers(0, 3))
    def arrive(self, count: int, hole: int) -> None:
        """Add records to the log, and offsets that no record fills."""
        self.holes |= set(range(self.end, self.end + hole))
        self.end += hole + count

    @precondition(lambda self: self.read < self.end)
    @rule(count=st.integers(1, 60))
    def fetch(self, count: int) -> None:
        for offset in range(self.read, min(self.end, self.read + count)):
            if offset in self.holes:
                continue
            if self.map.fetch(offset):
                assert offset not in self.remembered, "settled, committed, and given out again"
                self.unsettled.add(offset)
            else:
                assert offset in self.done, "not settled, and left out"
        self.read = min(self.end, self.read + count)

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sets(st.sampled_from(sorted(self.unsettled)), min_size=1, max_size=20))
        for offset in chosen:
            self.map.settle(offset)
            self.unsettled.remove(offset)
            self.failed.pop(offset, None)
            self.done.add(offset)
            self.known.add(offset)

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.unsettled)))
        self.failed[offset] = self.failed.get(offset, 0) + 1

    @rule(is_acknowledged=st.booleans())
    def commit_now(self, *, is_acknowledged: bool) -> None:
        position = self.map.position
        if position is None or not is_acknowledged:
            return
        metadata = metadata_of(position, Progress(self.map.settled(), self.failed))
        assert metadata.fullness <= 1
        self.commit = position, metadata.text
        self.remembered = set(self.known)
        self.failures_remembered = dict(self.failed)

    @rule()
    def crash(self) -> None:
        self.take_over()

    @invariant()
    def no_commit_passes_unsettled_work(self) -> None:
        if self.commit is not None:
            assert set(range(self.start, self.commit[0])) - self.holes <= self.done

    def teardown(self) -> None:
        """In the end all is done: nothing was lost on the way."""
        self.fetch(self.end - self.start + 1)
        for offset in sorted(self.unsettled):
            self.map.settle(offset)
            self.done.add(offset)
        assert self.done == set(range(self.start, self.end)) - self.holes


test_takeovers = Takeovers.TestCase
test_takeovers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

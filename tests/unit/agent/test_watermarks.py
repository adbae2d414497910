"""What may be committed is the first offset that is not settled, whatever order work ends in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafleet.watermarks import Watermark

offsets = st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True).map(sorted)


def test_nothing_fetched_is_nothing_to_commit() -> None:
    assert Watermark().position is None


def test_the_first_offset_fetched_is_a_position_before_it_is_settled() -> None:
    watermark = Watermark()
    watermark.fetch(500)

    assert watermark.position == 500


@settings(deadline=None)
@given(st.data())
def test_the_position_is_never_past_an_unsettled_offset_and_in_the_end_past_all(data: st.DataObject) -> None:
    fetched = data.draw(offsets)
    order = data.draw(st.permutations(fetched))
    watermark, unsettled, last = Watermark(), set(fetched), 0
    for offset in fetched:
        watermark.fetch(offset)
    for offset in order:
        watermark.settle(offset)
        unsettled.remove(offset)
        position = watermark.position
        assert position is not None
        assert position == min(unsettled, default=fetched[-1] + 1)
        assert position >= last
        last = position

    assert watermark.position == fetched[-1] + 1
    assert len(watermark) == 0


@settings(deadline=None)
@given(st.data())
def test_fetching_and_settling_may_alternate(data: st.DataObject) -> None:
    waiting: list[int] = []
    watermark, upcoming = Watermark(), 0
    for is_fetch in data.draw(st.lists(st.booleans(), max_size=80)):
        if is_fetch or not waiting:
            upcoming += data.draw(st.integers(0, 3))  # compaction and transaction markers leave gaps
            watermark.fetch(upcoming)
            waiting.append(upcoming)
            upcoming += 1
        else:
            watermark.settle(waiting.pop(data.draw(st.integers(0, len(waiting) - 1))))
        assert watermark.position == min(waiting, default=upcoming)


def test_an_offset_that_comes_again_is_refused() -> None:
    watermark = Watermark()
    watermark.fetch(7)

    with pytest.raises(ValueError, match="offset 7 was fetched already, 8 is next"):
        watermark.fetch(7)

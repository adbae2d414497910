"""The oracle of the benchmarks finds what it is there to find."""

from __future__ import annotations

from benchmarks.inputs import Input, Output, judge

SOURCE = Input("servers", "input", partitions=2, records=6, keys=2)
ALL = [
    Output(b"%02d:%08d:" % (partition, number), has_headers=True, appended=number)
    for partition in (0, 1)
    for number in range(3)
]
COMMITTED = {0: 3, 1: 3}


def test_all_outputs_in_order_are_right() -> None:
    found = judge(SOURCE, ALL, COMMITTED)

    assert found.is_right
    assert (found.committed, found.repeated) == (6, 0)
    assert list(found.appended) == [0, 0, 1, 1, 2, 2]


def test_a_committed_record_without_an_output_is_lost() -> None:
    found = judge(SOURCE, ALL[1:], COMMITTED)

    assert not found.is_right
    assert found.lost == 1


def test_a_record_that_is_not_committed_may_lack_its_output() -> None:
    assert judge(SOURCE, ALL[:-1], {0: 3, 1: 2}).is_right


def test_a_repeat_is_counted_and_no_loss() -> None:
    found = judge(SOURCE, [*ALL, ALL[0]], COMMITTED)

    assert found.is_right
    assert found.repeated == 1


def test_an_output_before_an_earlier_one_of_its_key_is_misordered() -> None:
    swapped = [ALL[2], ALL[1], ALL[0], *ALL[3:]]

    assert judge(SOURCE, swapped, COMMITTED).misordered == 1


def test_keys_may_overtake_each_other() -> None:
    assert judge(SOURCE, [ALL[1], ALL[0], *ALL[2:]], COMMITTED).is_right


def test_an_output_without_headers_is_not_right() -> None:
    bare = ALL[0]._replace(has_headers=False)

    assert not judge(SOURCE, [bare, *ALL[1:]], COMMITTED).is_right


def test_nothing_committed_is_not_right() -> None:
    assert not judge(SOURCE, [], {0: 0, 1: 0}).is_right

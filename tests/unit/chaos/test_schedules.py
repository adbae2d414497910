from __future__ import annotations

import json
from collections import Counter

from chaos.schedules import Schedule, What


def test_a_seed_gives_the_same_run_again_and_another_seed_another_one() -> None:
    one, again, other = Schedule.drawn(1, 500), Schedule.drawn(1, 500), Schedule.drawn(2, 500)

    assert (one, list(one.tasks())) == (again, list(again.tasks()))
    assert one.faults != other.faults
    assert list(one.tasks()) != list(other.tasks())


def test_each_kind_of_fault_comes_in_their_order_and_leaves_the_end_alone() -> None:
    faults = Schedule.drawn(3, 200_000).faults
    shares = [fault.share for fault in faults]

    assert {fault.what for fault in Schedule.drawn(3, 1_000).faults} == set(What) - {What.LATE_END}
    assert len(faults) == 25
    assert shares == sorted(shares)
    assert shares[-1] <= 0.9


def test_tasks_are_named_in_the_order_of_their_keys_and_of_every_kind() -> None:
    tasks = list(Schedule.drawn(4, 20_000).tasks())
    seen: Counter[str] = Counter()
    for task in tasks:
        assert task.sequence == seen[task.key]
        seen[task.key] += 1
    values = [json.loads(task.value) for task in tasks if task.value != b"{"]

    assert any(task.is_blocking for task in tasks)
    assert any("failures" in value for value in values)
    assert {value["deaths"] for value in values if "deaths" in value} == {1, 1_000_000}
    assert 50 < sum(task.is_poison for task in tasks) < 300

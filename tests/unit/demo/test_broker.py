"""Records are told apart by the run they belong to, and named by key and number."""

from __future__ import annotations

import json

from demo.broker import Record, answers_of, places_of, task
from demo.checking import Answer, Place


def result(run: str, number: int) -> Record:
    headers = {"ce_id": f"{run}/{number}/0", "ce_correlationid": run}
    return Record("assert", json.dumps({"number": number, "kind": "prose"}).encode(), headers)


def test_a_task_is_a_cloud_event_that_names_its_run_as_the_correlation() -> None:
    made = task("r1", Place("assert", 3), {"number": 3}, "paragraph")

    assert made.key == "assert"
    assert json.loads(made.value) == {"number": 3}
    assert made.headers["ce_id"] == "r1/assert#3"
    assert made.headers["ce_correlationid"] == "r1"
    assert made.headers["ce_type"] == "paragraph"


def test_results_and_dead_letters_of_other_runs_are_left_out() -> None:
    records = [result("r1", 0), result("r2", 0), result("r1", 1), Record("assert", b"not json")]

    assert answers_of("r1", records) == [
        Answer(Place("assert", 0), "r1/0/0", {"number": 0, "kind": "prose"}),
        Answer(Place("assert", 1), "r1/1/0", {"number": 1, "kind": "prose"}),
    ]
    assert places_of("r2", records) == [Place("assert", 0)]

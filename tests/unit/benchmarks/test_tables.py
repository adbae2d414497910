from __future__ import annotations

from benchmarks.tables import table


def test_a_row_becomes_medians_with_their_spread_beside_the_first_candidate() -> None:
    runs = [
        {"name": name, "round": number, "rate": rate, "peak": 100.0}
        for name, rates in {"Kafleet": (100.0, 120.0, 110.0), "peer": (50.0, 60.0, 22.0)}.items()
        for number, rate in enumerate(rates)
    ]

    assert table({"runs": runs}) == (
        "|  | records/s | relative | peak memory |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| Kafleet | 110 (100 to 120) | 1.00 | 100 MiB |\n"
        "| peer | 50 (22 to 60) | 0.50 (0.20 to 0.50) | 100 MiB |"
    )


def test_a_run_that_failed_is_named_and_counts_for_nothing() -> None:
    runs = [
        {"name": "Kafleet", "round": 0, "rate": 100.0},
        {"name": "Kafleet", "round": 1, "failure": "1 lost"},
    ]

    assert table({"runs": runs}).splitlines()[-1] == "| Kafleet (failed 1 of 2 times) | 100 |"

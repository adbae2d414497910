"""The manual as work: every paragraph once, in order within its topic, topics mixed."""

from __future__ import annotations

from collections import defaultdict

from demo import manual
from demo.checking import Place


def test_paragraphs_are_numbered_from_zero_and_in_order_within_each_topic() -> None:
    numbers = defaultdict(list)
    for place in manual.paragraphs():
        numbers[place.key].append(place.number)

    assert all(found == list(range(len(found))) for found in numbers.values())


def test_topics_are_mixed_so_that_no_partition_waits_for_another_topic_to_end() -> None:
    keys = [place.key for place in manual.paragraphs()]

    longest = max(set(keys), key=keys.count)
    first_half = keys[: len(keys) // 2]
    assert abs(first_half.count(longest) - keys.count(longest) / 2) <= 1


def test_paragraphs_are_the_manuals_own_text() -> None:
    texts = manual.paragraphs()

    assert all(text.strip() for text in texts.values())
    assert "assert" in texts[Place("assert", 0)]

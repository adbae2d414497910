"""The example's labels are real: computed from the text, and small enough to check by eye."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from demo import manual

triage = manual.example()


def paragraph(text: str) -> object:
    return triage.Paragraph(topic="assert", number=3, text=text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('The "assert" statement\n**********************', "heading"),
        ('   assert_stmt ::= "assert" expression ["," expression]', "grammar"),
        ("   >>> import builtins\n   >>> builtins.foo = 1", "session"),
        ("+-----+-----+\n| a   | b   |\n+-----+-----+", "table"),
        ("Changed in version 3.11: Starred elements are now allowed.", "note"),
        ("* a user-defined method", "item"),
        ("object.__getattr__(self, name)", "signature"),
        ("object.__add__(self, other)\nobject.__sub__(self, other)", "signature"),
        ("   if __debug__:\n       if not expression: raise AssertionError", "example"),
        ("   Try to get source code of *expression* and display it.", "prose"),
        ("The scope is called the block's *environment*.", "prose"),
        ("Such a function is called a *coroutine function*.", "definition"),
        ("", "prose"),
    ],
)
def test_each_kind_of_text_is_told_from_its_form(text: str, kind: str) -> None:
    assert triage.labels_of(paragraph(text)).kind == kind


def test_the_element_is_the_one_named_most_often_in_singular_or_plural() -> None:
    text = "A method is not a class. Classes have a metaclass; a method has none, and methods are objects."

    assert triage.labels_of(paragraph(text)).element == "method"


def test_a_paragraph_that_names_no_element_is_about_the_language() -> None:
    assert triage.labels_of(paragraph("It is undefined what happens then.")).element == "language"


def test_terms_are_what_the_manual_sets_off_each_once_and_in_order() -> None:
    text = 'An *iterator* has "__next__()"; see "__iter__" and *iterator*, not " spaces ".'

    assert triage.labels_of(paragraph(text)).terms == ["iterator", "__next__", "__iter__"]


def test_the_agent_answers_what_anybody_can_compute() -> None:
    one = paragraph("Assertions are a *convenient* way.")
    context = SimpleNamespace(config={"thinkSeconds": 0})

    answer = asyncio.run(triage.label(one, context))

    assert answer == triage.labels_of(one)


def test_every_paragraph_of_the_manual_gets_labels_and_no_two_kinds_alone() -> None:
    labels = manual.right_labels(manual.paragraphs())

    kinds = {label["kind"] for label in labels.values()}
    assert len(labels) > 2000
    assert kinds == {kind for kind, _ in triage.KINDS} | {"prose"}

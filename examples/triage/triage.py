"""Label paragraphs of the Python reference manual: the language element, the kind of text, the terms.

The labels are computed from the paragraph alone, so anybody can compute them again and compare. Only the wait
is played: `thinkSeconds` of sleep stand in for the seconds that a model would take to answer.
"""

import asyncio
import re
from collections import Counter

from pydantic import BaseModel, Field

from kafleet import Agent, Context

agent = Agent()

# The first pattern that matches names the kind; what none of them matches is prose.
KINDS = (
    ("heading", re.compile(r"\A\s*\S[^\n]*\n\s*([*=\-~^\"])\1{2,}\s*\Z")),
    ("grammar", re.compile(r"::=")),
    ("session", re.compile(r"^\s*>>> ", re.MULTILINE)),
    ("table", re.compile(r"^\s*(\+[-=]{3,}|\|.*\|\s*$)", re.MULTILINE)),
    ("note", re.compile(r"\A\s*(Note|Warning|See also|Changed in|New in|Deprecated|CPython)\b")),
    ("item", re.compile(r"\A\s*(\*|-|\d+\.) ")),
    ("signature", re.compile(r"\A((class )?[\w.]+\([^\n]*\)(\n|\Z))+\Z", re.ASCII)),
    ("example", re.compile(r"\A\s*^ {3}(?!.*[.:,;]\s*\Z)", re.MULTILINE | re.DOTALL)),
    ("definition", re.compile(r"\b(a|an|is|are|as|called)\s\*\w[\w\s-]*\*", re.ASCII)),
)
ELEMENTS = (
    "statement", "expression", "literal", "operator", "object", "type", "class", "function", "method",
    "attribute", "exception", "module", "name", "generator", "iterator", "string", "sequence", "pattern",
)  # fmt: skip
WORD = re.compile(r"[a-z]+")
TERM = re.compile(r"\*(\w[\w .-]{1,40})\*|\"(\w[\w.]{1,40})(?:\(\))?\"", re.ASCII)
MAX_TERMS = 12


class Paragraph(BaseModel):
    """One paragraph of the manual; `number` counts from 0 within its topic, which is the record's key."""

    topic: str
    number: int = Field(ge=0)
    text: str


class Labels(BaseModel):
    """What was found: `element` is "language" where no element is named; `terms` in order of appearance."""

    topic: str
    number: int
    element: str
    kind: str
    terms: list[str]


def labels_of(paragraph: Paragraph) -> Labels:
    """Compute the labels of one paragraph."""
    return Labels(
        topic=paragraph.topic,
        number=paragraph.number,
        element=element_of(paragraph.text),
        kind=next((kind for kind, pattern in KINDS if pattern.search(paragraph.text)), "prose"),
        terms=terms_of(paragraph.text),
    )


def element_of(text: str) -> str:
    """Return the element named most often, in singular or plural; of equals the one that is named first."""
    words = (word if word in ELEMENTS else word.removesuffix("s") for word in WORD.findall(text.lower()))
    named = Counter(word for word in words if word in ELEMENTS)
    return named.most_common(1)[0][0] if named else "language"


def terms_of(text: str) -> list[str]:
    """Return what the manual sets off, as *emphasis* or in "quotes", each once."""
    found = (emphasised or quoted for emphasised, quoted in TERM.findall(text))
    return list(dict.fromkeys(found))[:MAX_TERMS]


@agent.task
async def label(paragraph: Paragraph, ctx: Context) -> Labels:
    """Answer one paragraph with its labels, after as long a wait as the configuration asks for."""
    await asyncio.sleep(float(ctx.config.get("thinkSeconds", 0)))
    return labels_of(paragraph)

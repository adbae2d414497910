"""The Python reference manual as work: its paragraphs, in the order they are sent, and their right labels."""

from __future__ import annotations

import importlib.util
import pydoc_data.topics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.checking import Place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "triage"


def paragraphs() -> dict[Place, str]:
    """Return the text of every paragraph by topic and number, in the order they are to be sent.

    The topics are interleaved in proportion to their lengths, as mixed traffic is.
    """
    texts = {
        topic: [text for text in pages.split("\n\n") if text.strip()]
        for topic, pages in pydoc_data.topics.topics.items()
    }
    places = [Place(topic, number) for topic in sorted(texts) for number in range(len(texts[topic]))]
    places.sort(key=lambda place: (place.number + 0.5) / len(texts[place.key]))
    return {place: texts[place.key][place.number] for place in places}


def right_labels(texts: Mapping[Place, str]) -> dict[Place, Any]:
    """Compute every paragraph's labels here, with the function that the agents run."""
    triage = example()
    return {
        place: triage.labels_of(
            triage.Paragraph(topic=place.key, number=place.number, text=text)
        ).model_dump()
        for place, text in texts.items()
    }


def example() -> ModuleType:
    """Import examples/triage/triage.py, the file that the ConfigMap holds."""
    spec = importlib.util.spec_from_file_location("triage", EXAMPLE / "triage.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{str(EXAMPLE)!r} holds no triage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

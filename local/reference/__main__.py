"""Write the reference pages that are made from the code: `PYTHONPATH=local python -m reference`."""

from __future__ import annotations

from pathlib import Path

from reference.pages import pages

if __name__ == "__main__":
    for path, text in pages().items():
        (Path(__file__).parents[2] / path).write_text(text)

"""Write the reference pages that are made from the code: `PYTHONPATH=local python -m reference`."""

from __future__ import annotations

from reference.pages import ROOT, pages

if __name__ == "__main__":
    for path, text in pages().items():
        (ROOT / path).write_text(text)

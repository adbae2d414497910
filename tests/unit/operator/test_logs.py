"""Whoever writes to the log, a line is one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys

# In a process of its own, since it configures the whole of logging.
PROGRAM = """
import logging, warnings
import structlog
from kafleet_operator.logs import configure_logs

configure_logs("info")
structlog.get_logger("ours").info("said", resource="AgentGroup a/b", odd=object)
structlog.get_logger("ours").debug("not said")
logging.getLogger("kopf.thing").warning("theirs %s", 1, extra={"k8s_ref": {"name": "b"}})
logging.getLogger("kopf.objects").info("not said")
warnings.warn("old", DeprecationWarning, stacklevel=1)
try:
    raise ValueError("boom")
except ValueError:
    structlog.get_logger("ours").exception("failed")
"""


def test_every_line_is_json() -> None:
    """Ours, the libraries', warnings and tracebacks."""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert [(line["logger"], line["level"]) for line in lines] == [
        ("ours", "info"),
        ("kopf.thing", "warning"),
        ("py.warnings", "warning"),
        ("ours", "error"),
    ]
    assert lines[0]["resource"] == "AgentGroup a/b"
    assert (lines[1]["event"], lines[1]["k8s_ref"]) == ("theirs 1", {"name": "b"})
    assert lines[3]["exception"][0]["exc_value"] == "boom"

"""Whoever writes to the agent's log, a line is one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

# In a process of its own, since it configures the whole of logging.
PROGRAM = """
import logging, sys, threading
import structlog
from kafleet.logs import configure_logs

configure_logs("info")
sys.setswitchinterval(1e-6)

def theirs():
    for number in range(1000):
        logging.getLogger("librdkafka").error("theirs %s", number, extra={"group": "g"})

thread = threading.Thread(target=theirs)
thread.start()
for number in range(1000):
    structlog.get_logger("ours").info("ours", number=number, odd=object)
    structlog.get_logger("ours").debug("not said")
thread.join()
try:
    raise ValueError("boom")
except ValueError:
    structlog.get_logger("ours").exception("failed")
"""


def test_lines_of_several_threads_never_mix() -> None:
    """Ours and librdkafka's, which logs from threads of its own."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    counts = Counter((line["logger"], line["level"]) for line in lines)
    assert counts == {("librdkafka", "error"): 1000, ("ours", "info"): 1000, ("ours", "error"): 1}
    assert lines[-1]["event"] == "failed"
    assert "ValueError: boom" in lines[-1]["exception"]

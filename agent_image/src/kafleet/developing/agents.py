"""The agent as a child process, which comes and goes while the broker stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FINISH_SECONDS = 1.0
_CANCEL_SECONDS = 3.0
_LAST_WORDS_SECONDS = 1.0


class AgentProcess:
    """One agent process. `line` is called in a thread with each line that it prints."""

    def __init__(self, folder: Path, lane: dict[str, Any], line: Callable[[str], None]) -> None:
        lane_file, self._termination_log = folder / "lane.json", folder / "termination.log"
        lane_file.write_text(json.dumps(lane))
        self._termination_log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kafleet.developing.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "KAFLEET_LANE_FILE": str(lane_file),
                "KAFLEET_TERMINATION_LOG": str(self._termination_log),
                "KAFLEET_POD_NAME": "kafleet-dev",
                "KAFLEET_LOG_LEVEL": "debug",
                "PYTHONUNBUFFERED": "1",
            },
            # Ctrl-C is for us: we end the agent, in good order.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(line,), daemon=True)
        self._reader.start()

    @property
    def ended(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it: in good order, then by cancelling what is in flight, then by force."""
        for number, seconds in (
            (signal.SIGTERM, _FINISH_SECONDS),
            (signal.SIGTERM, _CANCEL_SECONDS),
            (signal.SIGKILL, None),
        ):
            self._process.send_signal(number)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return

    def close(self) -> str | None:
        """Let go of a process that has ended; returns its member id if it did not leave its group."""
        self._reader.join(_LAST_WORDS_SECONDS)  # what it has started itself may hold the other end
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            facts = json.loads(self._termination_log.read_bytes())
        except (OSError, ValueError):
            return None
        member: str | None = facts["member"]
        return member

    def _read(self, line: Callable[[str], None]) -> None:
        if self._process.stdout is not None:
            for raw in self._process.stdout:
                line(raw.decode(errors="replace").rstrip("\n"))

"""One run of `kafleet dev`: a broker that stays, an agent that is started anew at each change of the code."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from watchfiles import PythonFilter, watch

from kafleet.developing.agents import AgentProcess
from kafleet.developing.brokers import EmbeddedBroker
from kafleet.developing.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console

INBOX, OUTPUT, DEAD_LETTERS = "tasks", "results", "dead-letters"
_LOOK_MS = 200
_CANNOT_START = 2
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 16.0
_STDIN = 0
_CHUNK = 65_536


class Session:
    """Runs until Ctrl-C. `folder` is put on the import path, and watched."""

    def __init__(
        self,
        handler: str,
        *,
        folder: Path,
        config: Mapping[str, Any],
        lanes: Iterable[str],
        records: Path | None,
        kind: str | None,
        console: Console,
    ) -> None:
        self._handler = handler
        self._folder = folder
        self._config = dict(config)
        self._sends = {lane: f"{lane}.tasks" for lane in lanes}
        self._records = records
        self._kind = kind
        self._console = console
        self._group = f"dev.{handler.partition(':')[0]}.workers"
        self._teller = Teller(console, inbox=INBOX, output=OUTPUT, dead_letters=DEAD_LETTERS)

    def run(self) -> None:
        """Work until interrupted; then end the agent, and the broker with all that is in it."""
        signal.signal(signal.SIGTERM, _interrupt)
        topics = (INBOX, OUTPUT, DEAD_LETTERS, *self._sends.values())
        with (
            tempfile.TemporaryDirectory(prefix="kafleet-dev-") as scratch,
            EmbeddedBroker(topics, self._teller.record) as broker,
        ):
            self._console.print(
                f"[bold]kafleet dev[/] {self._handler}   broker [bold]{broker.address}[/]   Ctrl-C ends it"
            )
            keeper = _Keeper(Path(scratch), self._lane(broker.address), self._teller, broker, self._group)
            try:
                keeper.start()
                self._feed(broker)
                self._watch(keeper)
            except KeyboardInterrupt:
                self._teller.say("ending")
            finally:
                keeper.stop()

    def _watch(self, keeper: _Keeper) -> None:
        changes = watch(
            self._folder,
            watch_filter=PythonFilter(),
            rust_timeout=_LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=True,
        )
        for changed in changes:
            if changed:
                names = sorted({os.path.relpath(path, self._folder) for _, path in changed})
                self._teller.say("reloading", f"{', '.join(names)} changed")
                keeper.restart()
            else:
                keeper.look()

    def _feed(self, broker: EmbeddedBroker) -> None:
        """Produce what the file holds and what is typed, side by side."""
        sources = [_lines(_STDIN)]
        if self._records is not None:
            sources.append(_lines(os.open(self._records, os.O_RDONLY)))
        for source in sources:
            arguments = (INBOX, map(_record, source), self._kind, self._group)
            threading.Thread(target=broker.feed, args=arguments, daemon=True).start()

    def _lane(self, bootstrap_servers: str) -> dict[str, Any]:
        """Return the lane file; what it says of delivery is what an AgentGroup says that says nothing."""
        return {
            "version": 1,
            "kind": "AgentGroup",
            "namespace": "dev",
            "resource": self._handler.partition(":")[0],
            "lane": "workers",
            "group": self._group,
            "bootstrapServers": bootstrap_servers,
            "inputs": [{"role": INBOX, "topic": INBOX}],
            "outputs": {OUTPUT: OUTPUT},
            "output": OUTPUT,
            "deadLetters": DEAD_LETTERS,
            "sends": self._sends,
            "agent": {"handler": self._handler, "codePath": str(self._folder), "config": self._config},
            "delivery": {
                "guarantee": "AtLeastOnce",
                "ordering": "Key",
                "concurrency": 64,
                "taskTimeoutSeconds": 60,
                "maxAttempts": 5,
                "backoffInitialSeconds": 1,
                "backoffMaxSeconds": 60,
                "drainTimeoutSeconds": 30,
                "hopLimit": 32,
                "startFrom": "earliest",
            },
            "http": {"port": 0},
        }


class _Keeper:
    """Keeps one agent process running: a new one at each change, and some time after it has died."""

    def __init__(
        self, scratch: Path, lane: dict[str, Any], teller: Teller, broker: EmbeddedBroker, group: str
    ) -> None:
        self._scratch = scratch
        self._lane = lane
        self._teller = teller
        self._broker = broker
        self._group = group
        self._process: AgentProcess | None = None
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._start_at: float | None = None  # after a death

    def start(self) -> None:
        self._start_at = None
        self._process = AgentProcess(self._scratch, self._lane, self._teller.line)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._clear()

    def restart(self) -> None:
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self.stop()
        self.start()

    def look(self) -> None:
        """Notice that the process has ended by itself; start it again when its time has come."""
        if self._start_at is not None and time.monotonic() >= self._start_at:
            self.start()
        code = None if self._process is None else self._process.ended
        if code is None:
            return
        self._clear()
        if code == _CANNOT_START:
            self._teller.say("waiting", "for a change of the code")
            return
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self._teller.say("error", f"the agent has died {how}; again in {self._pause_seconds:g} s")
        self._start_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _clear(self) -> None:
        """Forget a process that has ended, and let the group forget it."""
        if self._process is not None and (member := self._process.close()) is not None:
            self._broker.remove_member(self._group, member)
        self._process = None


def _lines(file: int) -> Iterator[bytes]:
    """Yield the lines of an open file that are not empty.

    By the system's own read: a thread that is left in one of Python's would be in the way when we end.
    """
    rest = b""
    while chunk := os.read(file, _CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.rstrip(b"\r") for line in lines if line.strip())
    if rest.strip():
        yield rest


def _record(line: bytes) -> tuple[bytes | None, bytes]:
    """Return key and value of a line. JSON may hold tabs of its own, so what begins like it has no key."""
    key, tab, value = line.partition(b"\t")
    return (None, line) if not tab or line.startswith((b"{", b"[", b'"')) else (key, value)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt

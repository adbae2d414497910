"""The agent processes of a chaos run, what is done to them, and a note of each time one was away."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from chaos.facts import EVERYBODY, Absence
from chaos.schedules import MAX_ATTEMPTS, SESSION_SECONDS, TASK_TIMEOUT_SECONDS, What
from integration.agent.lanes import Worker
from integration.asking import remove
from integration.proxies import END_TXN
from integration.servers import PROJECT

from kafleet_operator.errors import KafleetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaos.schedules import Fault
    from integration.agent.lanes import KafkaLane
    from integration.proxies import Proxy

CONCURRENCY: Final = 32
_NOTICE_SECONDS: Final = 5.0  # until who comes back has learned what it missed
_CUT_SECONDS: Final = 5.0  # until a client has connected again
_ALMOST_EXPELLED_SECONDS: Final = SESSION_SECONDS - 1.5  # the last heartbeat was that much earlier
_YOUNG_SECONDS: Final = 10.0  # until a process listens to signals, on a busy machine
_HEREAFTER_SECONDS: Final = 30.0  # a fault can still be why a process that leaves cannot commit


@dataclass(slots=True, eq=False)
class Hand:
    """One agent process from its start to its end; `name` is its pod's and may come again."""

    worker: Worker
    name: str
    process: str
    started_at: float
    is_disturbed: bool = False  # frozen or cut off: not to be disturbed again meanwhile
    told_to_stop_at: float = 0.0

    @property
    def is_alive(self) -> bool:
        return self.worker.pid is not None


@dataclass(frozen=True, slots=True)
class Kind:
    """What the processes are: agents of Kafleet with this guarantee, or a peer with the same tasks."""

    guarantee: str = "AtLeastOnce"
    command: tuple[str | Path, ...] = (sys.executable, "-m", "kafleet")
    variables: Mapping[str, str] = field(default_factory=dict)
    is_peer: bool = False
    symptom: str | None = None
    """What must be found, because a bug is planted."""

    @property
    def is_exactly_once(self) -> bool:
        return self.guarantee == "ExactlyOnce"


@dataclass(slots=True)
class Crew:
    """Those who work, those who are leaving, and why some were away. `say` is told what happens."""

    lane: KafkaLane
    proxy: Proxy
    kind: Kind
    say: Callable[[str], None]
    working: list[Hand] = field(default_factory=list)
    leaving: list[Hand] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _pending: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _started: int = 0

    def start(self, name: str | None = None) -> None:
        """Start a process, in a new pod unless it is to have a pod's name."""
        if name is None:
            self._started += 1
            name = f"{self.lane.name}-{self._started}"
        folder = self.lane.folder
        variables = {"CHAOS_FOLDER": str(folder), **self.kind.variables}
        worker = Worker(name, self._lane_file(), folder, variables, self.kind.command)
        worker.start()
        self.working.append(Hand(worker, name, f"{name}-{worker.pid}", time.monotonic()))

    def _lane_file(self) -> dict[str, Any]:
        lane_file = self.lane.lane_file(
            "chaos.handlers:agent",
            guarantee=self.kind.guarantee,
            concurrency=CONCURRENCY,
            maxAttempts=MAX_ATTEMPTS,
            taskTimeoutSeconds=TASK_TIMEOUT_SECONDS,
        )
        lane_file["bootstrapServers"] = self.proxy.address
        lane_file["agent"]["codePath"] = str(PROJECT / "tests")
        return lane_file

    def look(self) -> None:
        """Replace who died by itself, see who has left, and end what is to be ended by now."""
        for hand in [each for each in self.working if not each.is_alive]:
            status = hand.worker.wait()
            self.say(f"  {hand.process} died by itself with status {status}")
            if status != -signal.SIGKILL:  # the one that tasks send
                self.complaints.append(f"{hand.process} died by itself with status {status}")
            self.working.remove(hand)
            self._note_death(hand)
            self._remove_member(hand)
            self.start(hand.name)
        for hand in [each for each in self.leaving if not each.is_alive]:
            self.leaving.remove(hand)
            self._note_departure(hand)
        now = time.monotonic()
        due = [do for at, do in self._pending if at <= now]
        self._pending = [each for each in self._pending if each[0] > now]
        for do in due:
            do()

    def is_calm(self) -> bool:
        """Whether nothing is going to happen by itself."""
        return not self._pending and not self.leaving

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something in so many seconds, as far as `look` is called."""
        self._pending.append((time.monotonic() + seconds, do))

    def note(self, process: str, began: float, aftermath: float, *, is_expelled: bool = False) -> None:
        """Note that a process was away until now, and that it shows for so many seconds more."""
        ended = time.monotonic() + aftermath
        self.absences.append(Absence(process, began, ended, is_death=False, is_expelled=is_expelled))

    def note_rejoin(self, moment: float) -> None:
        """Note that the broker had expelled somebody who lived, for whatever reason; it does not say whom."""
        self.say(f"  somebody was expelled and joined again {time.monotonic() - moment:.0f} s ago")
        span = (moment - SESSION_SECONDS, moment + _NOTICE_SECONDS)
        self.absences.append(Absence(EVERYBODY, *span, is_death=False, is_expelled=True))

    def disturb(self, fault: Fault) -> None:
        """Do to one process what a fault says."""
        calm = [hand for hand in self.working if hand.is_alive and not hand.is_disturbed]
        if not calm:
            self.say("  nobody is left to be disturbed")
            return
        hand = calm[fault.victim % len(calm)]
        match fault.what:
            case What.KILL | What.KILL_AND_REMOVE:
                self._kill(hand, is_removed=fault.what == What.KILL_AND_REMOVE)
                self.later(fault.seconds, lambda: self.start(hand.name if fault.is_same_pod else None))
            case What.TERMINATE:
                self.terminate(hand)
                self.later(fault.seconds, self.start)
            case What.FREEZE | What.EXPEL:
                self._freeze(hand, fault.seconds)
            case What.SILENCE | What.LONG_SILENCE | What.LATE:
                self._silence(hand, fault.seconds, is_kept=fault.what == What.LATE)
            case What.LATE_END:
                self.proxy.delay(END_TXN, fault.seconds, client=hand.name)
            case _:
                self.note(hand.process, time.monotonic(), _CUT_SECONDS)
                self.proxy.cut(hand.name)

    def scale(self, count: int) -> None:
        """Start or stop processes until there are so many; who is disturbed stays."""
        for _ in range(count - len(self.working)):
            self.start()
        for hand in self.working[count:]:
            if hand.is_alive and not hand.is_disturbed:
                self.terminate(hand)

    def terminate(self, hand: Hand) -> None:
        """Tell a process to stop."""
        self.working.remove(hand)
        self.leaving.append(hand)
        hand.told_to_stop_at = time.monotonic()
        os.kill(hand.worker.pid or 0, signal.SIGTERM)

    def end(self) -> None:
        """Kill whoever is left."""
        for hand in (*self.working, *self.leaving):
            hand.worker.kill()

    def _kill(self, hand: Hand, *, is_removed: bool) -> None:
        self.working.remove(hand)
        self._note_death(hand)
        hand.worker.kill()
        if is_removed:
            self._remove_member(hand)

    def _freeze(self, hand: Hand, seconds: float) -> None:
        began, hand.is_disturbed = time.monotonic(), True
        hand.worker.freeze()

        def thaw() -> None:
            is_expelled = time.monotonic() - began > _ALMOST_EXPELLED_SECONDS
            hand.worker.thaw()
            hand.is_disturbed = False
            self.note(hand.process, began, _NOTICE_SECONDS, is_expelled=is_expelled)

        self.later(seconds, thaw)

    def _silence(self, hand: Hand, seconds: float, *, is_kept: bool) -> None:
        began, hand.is_disturbed = time.monotonic(), True
        self.proxy.silence(hand.name)

        def release() -> None:
            self.proxy.release(hand.name, is_kept=is_kept)
            hand.is_disturbed = False
            self.note(hand.process, began, _NOTICE_SECONDS)

        self.later(seconds, release)

    def _note_death(self, hand: Hand) -> None:
        now = time.monotonic()
        self.absences.append(Absence(hand.process, now, now, is_death=True, is_expelled=False))

    def _note_departure(self, hand: Hand) -> None:
        """Look how a process has left that was told to: in good order, unless something else went on."""
        status, told_at = hand.worker.wait(), hand.told_to_stop_at
        if status == 0:
            return
        is_disturbed = any(
            each.process in (EVERYBODY, hand.process) and each.ended > told_at - _HEREAFTER_SECONDS
            for each in self.absences
        )
        is_young = status == -signal.SIGTERM and told_at - hand.started_at < _YOUNG_SECONDS
        reasons = [line["reason"] for line in hand.worker.events("agent gives up")]
        complaint = f"{hand.process} left with status {status}: {reasons[-1:]}"
        self.say(f"  {complaint}")
        self.note(hand.process, told_at, 0)
        if not (is_disturbed or is_young) or any("internal error" in reason for reason in reasons):
            self.complaints.append(complaint)

    def _remove_member(self, hand: Hand) -> None:
        """Do what the operator does about a container that has ended."""
        try:
            member = hand.worker.member
        except (FileNotFoundError, json.JSONDecodeError):
            return  # it died before it joined, or while it wrote
        if member is not None:
            self._remove(member)

    def _remove(self, member: str) -> None:
        try:
            remove(self.lane.bootstrap_servers, self.lane.name, member)
        except KafleetError as error:
            self.say(f"  cannot remove {member}, trying again: {error}")
            self.later(1.0, lambda: self._remove(member))

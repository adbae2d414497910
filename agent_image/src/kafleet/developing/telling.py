"""What `kafleet dev` shows: a line for each thing that happens to a record, when it does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Message
    from rich.console import Console

_WORD_WIDTH = 12
_PLACE_WIDTH = 11
_INDENT = " " * (10 + _WORD_WIDTH + 1)
_PAYLOAD_SHOWN = 2_000
_OURS = ("kafleet.", "asyncio", "librdkafka")
_STYLES = {
    "arrived": "cyan",
    "done": "green",
    "emitted": "green",
    "sent": "green",
    "failed": "red",
    "waits": "yellow",
    "dead letter": "bold red",
    "error": "bold red",
    "warning": "yellow",
}
_WHOLE = ("failed", "dead letter", "error", "warning", "log", "print")  # nothing of these is cut off
_BOUND = ("topic", "partition", "offset", "key", "record_id", "correlation_id", "attempt", "group", "pod")
_META = ("event", "level", "logger", "timestamp", "exception", "traceback")


class Teller:
    """Writes to a terminal. Several threads call its methods; the console has a lock of its own."""

    def __init__(self, console: Console, *, inbox: str, output: str, dead_letters: str) -> None:
        self._console = console
        self._inbox = inbox
        self._output = output
        self._dead_letters = dead_letters

    def say(self, word: str, text: str | Text = "", *, place: str = "", more: Iterable[str] = ()) -> None:
        """Show one line: the time, what it is, which record it is about, and what there is to say."""
        style = _STYLES.get(word, "bold")
        line = Text.assemble(
            (time.strftime("%H:%M:%S  "), "dim"),
            (f"{word:<{_WORD_WIDTH}} ", style),
            (f"{place:<{_PLACE_WIDTH}} " if place else "", "magenta"),
            text,
        )
        if self._console.is_terminal and word not in _WHOLE:
            line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)
        for each in more:
            self._console.print(Text(_INDENT + each, "dim"), soft_wrap=True)

    def record(self, message: Message) -> None:
        """Show a record that was written to one of the topics."""
        headers = dict(message.headers() or ())
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        if message.topic() == self._dead_letters:
            self._say_dead_letter(headers)
        elif message.topic() == self._inbox:
            self.say("arrived", _content(message, headers), place=place)
        else:
            word = "emitted" if message.topic() == self._output else "sent"
            target = Text.assemble((f"→ {message.topic()}  ", "dim"), _content(message, headers))
            self.say(word, target, place=_text(headers.get("ce_causationid")))

    def line(self, line: str) -> None:
        """Show a line that the agent printed or logged, as far as it is for people."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or "event" not in event:
            self.say("print", line)
            return
        tell = getattr(self, "_tell_" + str(event["event"]).replace(" ", "_"), None)
        if tell is not None and str(event.get("logger", "")).startswith("kafleet."):
            tell(event)
        elif _is_for_people(event):
            self._tell_log(event)

    def _say_dead_letter(self, headers: dict[str, bytes | None]) -> None:
        topic, number, offset = (
            _text(headers.get(f"__connect.errors.{name}")) for name in ("topic", "partition", "offset")
        )
        kind, fault = (
            _text(headers.get(f"__connect.errors.exception.{name}")) for name in ("class.name", "message")
        )
        reason, attempts = _text(headers.get("kafleet_reason")), _text(headers.get("kafleet_attempts"))
        after = f" after {_count(int(attempts), 'attempt')}" if attempts not in ("", "0") else ""
        cause = fault if kind in (reason, "Reject") else f"{kind}: {fault}"
        self.say(
            "dead letter",
            Text.assemble((f"{reason}{after}", "red"), f"  {_one_line(cause)}"),
            place=f"{topic}/{number}/{offset}",
        )

    def _tell_attempt_failed(self, event: dict[str, Any]) -> None:
        where = _last_place(event.get("traceback") or "")
        self.say(
            "failed",
            f"attempt {event['attempt']}: {_one_line(event['error'])}",
            place=_place(event),
            more=[where] if where else (),
        )

    def _tell_attempt_ended(self, event: dict[str, Any]) -> None:
        seconds, again = event["seconds"], event["retry_seconds"]
        if again is None:
            if event["outcome"] == "finished":
                self.say("done", f"attempt {event['attempt']}, {_duration(seconds)}", place=_place(event))
            return
        why = {"postponed": "RetryLater: ", "saturated": "Throttled: "}.get(event["outcome"], "")
        self.say("waits", f"{why}again in {_duration(again)}", place=_place(event))

    def _tell_a_provider_is_full_this_replica_starts_nothing(self, event: dict[str, Any]) -> None:
        self.say("waits", f"a provider is full, nothing starts for {_duration(event['seconds'])}")

    def _tell_agent_starts(self, event: dict[str, Any]) -> None:
        self.say("started", Text(f"http://127.0.0.1:{event['port']}/status", "dim"))

    def _tell_agent_cannot_start(self, event: dict[str, Any]) -> None:
        self.say("error", event["reason"], more=_own_frames(event.get("exception") or ""))

    def _tell_agent_gives_up(self, event: dict[str, Any]) -> None:
        self.say("error", event["reason"], more=_own_frames(event.get("exception") or ""))

    def _tell_dead_letter(self, _event: dict[str, Any]) -> None:
        """Show nothing: the dead letter itself is shown when it is in its topic."""

    def _tell_log(self, event: dict[str, Any]) -> None:
        level = str(event.get("level", "info"))
        rest = {key: value for key, value in event.items() if key not in _BOUND + _META}
        text = " ".join([str(event["event"]), *(f"{key}={value}" for key, value in rest.items())])
        word = {"error": "error", "critical": "error", "warning": "warning"}.get(level, "log")
        trace = event.get("exception") or ""
        self.say(word, _one_line(text), place=_place(event), more=trace.splitlines())


def _is_for_people(event: dict[str, Any]) -> bool:
    """Tell whether a line that nothing above knows is shown: what a handler or its libraries say."""
    level = event.get("level", "info")
    is_ours = str(event.get("logger", "")).startswith(_OURS)
    if is_ours and "record_id" not in event:
        return level in ("error", "critical", "warning")
    return bool(level != "debug")


def _content(message: Message, headers: dict[str, bytes | None]) -> Text:
    key, value, kind = message.key(), message.value(), _text(headers.get("ce_type"))
    shown = "(tombstone)" if value is None else _one_line(_text(value[:_PAYLOAD_SHOWN]))
    return Text.assemble(
        (f"{_text(key)}  " if key is not None else "", "bold"), (f"{kind}  " if kind else "", "dim"), shown
    )


def _place(event: dict[str, Any]) -> str:
    return f"{event['topic']}/{event['partition']}/{event['offset']}" if "offset" in event else ""


def _last_place(traceback: str) -> str:
    """Return where the handler's own code raised: the last line of it in a traceback."""
    frames = _own_frames(traceback)
    return frames[-1] if frames else ""


def _own_frames(traceback: str) -> list[str]:
    """Return the places of a traceback that are neither Kafleet's nor a library's, if there are any."""
    package = str(Path(__file__).parents[1])
    places = []
    for line in traceback.splitlines():
        file, _, rest = line.strip().removeprefix('File "').partition('", ')
        if line.strip().startswith('File "') and not file.startswith((package, "<")):
            places.append((file, f"{Path(file).name}, {rest}"))
    return [place for file, place in places if "site-packages" not in file and "/lib/python" not in file]


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", "backslashreplace")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"

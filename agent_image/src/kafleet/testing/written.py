"""Records that a lane wrote, as a test wants to look at them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kafleet.payloads import decoder_for
from kafleet.records import text_of

if TYPE_CHECKING:
    from kafleet.records import Record

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, repr=False)
class WrittenRecord:
    """A record as whoever reads its topic sees it: a result, a task sent to another lane, or a dead letter.

    `record` has the bytes. Of several headers with one name the last one counts.
    """

    record: Record

    @property
    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """The payload by its content type: JSON parsed, text as `str`, anything else as `bytes`."""
        raw = self.record.value
        if raw is None:
            return None
        kind = self.header("content-type")
        if kind is not None:
            return json.loads(raw) if "json" in kind else raw.decode() if kind.startswith("text/") else raw
        try:
            return json.loads(raw)
        except ValueError:
            return raw

    def read(self, annotation: type[Value]) -> Value:
        """Return the payload as a handler with this annotation would get it, or raise InvalidPayload."""
        found: Value = decoder_for(annotation)(self.record.value)  # type: ignore[assignment]
        return found

    @property
    def key(self) -> str | None:
        """The key as text."""
        return text_of(self.record.key)

    @property
    def headers(self) -> dict[str, bytes | None]:
        """All headers by name."""
        return dict(self.record.headers or ())

    def header(self, name: str) -> str | None:
        """Return a header as text, None if it is not there."""
        return text_of(self.headers.get(name))

    @property
    def id(self) -> str:
        """`ce_id`, or `<topic>/<partition>/<offset>` where there is none."""
        return self.header("ce_id") or self.record.name

    @property
    def type(self) -> str | None:
        """`ce_type`."""
        return self.header("ce_type")

    @property
    def causation_id(self) -> str | None:
        """Id of the task whose handler emitted this."""
        return self.header("ce_causationid")

    @property
    def correlation_id(self) -> str | None:
        """The same in the whole tree of tasks."""
        return self.header("ce_correlationid")

    @property
    def reason(self) -> str | None:
        """Of a dead letter: why it is one."""
        return self.header("kafleet_reason")

    @property
    def attempts(self) -> int | None:
        """Of a dead letter: how often the handler was called."""
        count = self.header("kafleet_attempts")
        return None if count is None else int(count)

    @property
    def error(self) -> str | None:
        """Of a dead letter: the last error's message."""
        return self.header("kafka_dlt-exception-message")

    @property
    def traceback(self) -> str | None:
        """Of a dead letter: the last error's traceback."""
        return self.header("kafka_dlt-exception-stacktrace")

    def __repr__(self) -> str:
        told = {"key": self.key, "value": self.value, "type": self.type}
        if self.reason is not None:
            told |= {"reason": self.reason, "error": self.error, "attempts": self.attempts}
        shown = ", ".join(f"{name}={each!r}" for name, each in told.items() if each is not None)
        return f"<{self.record.partition.topic} {shown}>"

"""The termination log: what the pod's status still tells when this process has ended, however it ended.

The format is `contract/termination.schema.json`; Kubernetes keeps 4,096 bytes of it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, TypedDict, Unpack

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

_MOST_BYTES = 4_096
_LONGEST_ERROR = 1_000


class Facts(TypedDict, total=False):
    """The fields of the log that change; see the schema."""

    group: str | None
    member: str | None
    error: str | None


class TerminationLog:
    """A file that always holds one whole JSON object. With `path` None, outside of a pod, nothing is kept."""

    def __init__(self, path: Path | None, logger: FilteringBoundLogger) -> None:
        self._path = path
        self._logger = logger
        self._facts = Facts(group=None, member=None, error=None)

    def note(self, **facts: Unpack[Facts]) -> None:
        """Change some fields and write the file; a file that cannot be written costs a warning."""
        self._facts |= facts
        if self._path is None:
            return
        try:
            _rewrite(self._path, _encoded(self._facts))
        except OSError as error:
            self._logger.warning("cannot write the termination log", path=str(self._path), error=str(error))


def _encoded(facts: Facts) -> bytes:
    error, limit = facts["error"], _LONGEST_ERROR
    while True:
        short = error if error is None else " ".join(error.split())[:limit]
        text = json.dumps({"version": 1, **facts, "error": short}, ensure_ascii=False)
        encoded = text.encode("utf-8", "backslashreplace")
        if len(encoded) <= _MOST_BYTES or limit == 0:
            return encoded
        limit //= 2


def _rewrite(path: Path, content: bytes) -> None:
    """Replace a file's content in one system call, so that a kill leaves the old or the new, never half.

    Not by renaming: in a container the file is a mount, which nothing can be renamed onto. And not by cutting
    it off, which would be a second call: what is left of a longer content is overwritten by spaces.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(file, content.ljust(os.fstat(file).st_size), 0)
    finally:
        os.close(file)

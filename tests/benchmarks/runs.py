"""Running candidates: started, watched while they are steady, stopped, and judged."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.candidates import Job
from benchmarks.inputs import committed_by, create_topics, judge, read, written_to
from benchmarks.usages import Watch, peak_mib
from confluent_kafka.admin import AdminClient
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.candidates import Candidate
    from benchmarks.inputs import Findings, Input, Output
    from integration.servers import Process

STOP_SECONDS: Final = 90.0


class WrongOutput(Exception):
    """A candidate's output is not what its guarantee says: its figures count for nothing."""


@dataclass(frozen=True, slots=True)
class Running:
    """A candidate's process at work on an input, with an output topic of its own."""

    source: Input
    job: Job
    process: Process
    admin: AdminClient

    @property
    def pid(self) -> int:
        self.process.check()
        return self.process.pid or 0

    def written(self) -> int:
        """Return how many records it has written, transaction markers included."""
        self.process.check()
        return written_to(self.admin, self.job.output, self.source.partitions)

    def committed(self) -> dict[int, int]:
        return committed_by(self.admin, self.job.group, self.source)

    def outputs(self) -> Iterator[Output]:
        return read(self.source.servers, self.job.output)

    def end(self) -> Findings:
        """Stop the process in good order and judge what it wrote; WrongOutput if it is wrong."""
        self.process.stop(signal.SIGTERM, seconds=STOP_SECONDS)
        found = judge(self.source, self.outputs(), self.committed())
        if not found.is_right:
            raise WrongOutput(found.said)
        return found


@contextlib.contextmanager
def running(candidate: Candidate, source: Input, folder: Path, **options: Any) -> Iterator[Running]:  # noqa: ANN401
    """Run a candidate with these fields of a Job; on leaving, it is gone, and so are its outputs."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    job = Job(source.servers, name, source.topic, f"{name}.out", folder, **options)
    admin = AdminClient({"bootstrap.servers": source.servers})
    outputs = {job.output: {"message.timestamp.type": "LogAppendTime"}, f"{job.output}.dead-letters": {}}
    create_topics(admin, outputs, source.partitions)
    process = candidate.process(job)
    process.start()
    try:
        yield Running(source, job, process, admin)
    finally:
        process.kill()
        for deleted in admin.delete_topics(list(outputs)).values():
            deleted.result()


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to watch: first outputs for `warm_up` seconds are left out, then `seconds` are measured."""

    source: Input
    folder: Path
    seconds: float
    warm_up: float

    def run(self, candidate: Candidate, **options: Any) -> dict[str, float]:  # noqa: ANN401 - fields of a Job
        """Run a candidate with these fields of a Job, and return its figures; WrongOutput if it was wrong.

        `rate`: records a second. `cpu`, `main`, `client`: µs of processor time a record, in all, of the main
        thread, of librdkafka's threads. `peak`: MiB. `load`: the kernel's one-minute average.
        """
        with running(candidate, self.source, self.folder, **options) as run:
            eventually(run.written)
            with Watch(run.pid) as watch:
                deadline = time.monotonic() + self.warm_up + self.seconds
                while time.monotonic() < deadline and run.written() < self.source.records:
                    time.sleep(0.1)
            load, peak = os.getloadavg()[0], peak_mib(run.pid)
            found = run.end()
        begin, end = self._window(found)
        used = watch.between(begin, end)
        done = bisect_left(found.appended, end * 1000) - bisect_left(found.appended, begin * 1000)
        if not done:
            raise WrongOutput("nothing was written while it was measured")
        return {
            "rate": done / used.at,
            "cpu": used.processor / done * 1e6,
            "main": used.main / done * 1e6,
            "client": used.client / done * 1e6,
            "peak": peak,
            "load": load,
            "records": found.committed,
            "repeated": found.repeated,
        }

    def _window(self, found: Findings) -> tuple[float, float]:
        """Return where it was steady: from after the warm-up to its length later, or to the last output."""
        begin = found.appended[0] / 1000 + self.warm_up
        end = min(begin + self.seconds, found.appended[-1] / 1000)
        if end - begin < self.seconds / 3:
            raise WrongOutput(f"the input was done after {end - begin:.1f} s: give it more records")
        return begin, end

"""Who is measured: Kafleet's agent as in pods, and its peers, each in an environment of its own.

The environments are made once, from the pinned requirements in `peers/`, and kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from integration.servers import PROJECT, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HERE: Final = Path(__file__).resolve().parent
PEERS: Final = HERE / "peers"
# It asks for Python 3.12 and works on 3.11, where the project's own environment may be.
_PYRALLEL: Final = ("--python-version", "3.12", "--no-deps", "pyrallel-consumer==1.0.0")


@dataclass(frozen=True, slots=True)
class Job:
    """What a candidate is to do: which topics, as which group, how much at a time."""

    servers: str
    group: str
    input: str
    output: str
    folder: Path
    handler: str = "echo"
    concurrency: int = 1_000
    guarantee: str = "AtLeastOnce"
    config: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name for tables, and how its process is made."""

    name: str
    process: Callable[[Job], Process]


def _kafleet(job: Job) -> Process:
    lane = {
        "version": 1,
        "kind": "AgentGroup",
        "namespace": "benchmark",
        "resource": job.group,
        "lane": "workers",
        "group": job.group,
        "bootstrapServers": job.servers,
        "inputs": [{"role": "tasks", "topic": job.input}],
        "outputs": {"results": job.output},
        "output": "results",
        "deadLetters": f"{job.output}.dead-letters",
        "sends": {},
        "agent": {
            "handler": f"handlers:{job.handler}",
            "codePath": str(HERE),
            "config": job.config or {},
        },
        "delivery": {
            "guarantee": job.guarantee,
            "ordering": "Key",
            "concurrency": job.concurrency,
            "taskTimeoutSeconds": 300,
            "maxAttempts": 5,
            "backoffInitialSeconds": 1,
            "backoffMaxSeconds": 60,
            "drainTimeoutSeconds": 30,
            "hopLimit": 8,
            "startFrom": "earliest",
        },
        "http": {"port": 0},
    }
    lane_file = job.folder / f"{job.group}.json"
    lane_file.write_text(json.dumps(lane))
    environment = {
        "KAFLEET_LANE_FILE": str(lane_file),
        "KAFLEET_TERMINATION_LOG": str(job.folder / f"{job.group}.termination"),
        "KAFLEET_POD_NAME": job.group,
    }
    return Process(job.group, [sys.executable, "-m", "kafleet"], job.folder, environment)


def _peer(
    script: str, requirements: str | None = None, extra: Iterable[str] = ()
) -> Callable[[Job], Process]:
    def process(job: Job) -> Process:
        python = environment(requirements, extra) if requirements else Path(sys.executable)
        asked = {
            "servers": job.servers,
            "group": job.group,
            "input": job.input,
            "output": job.output,
            "concurrency": job.concurrency,
            "guarantee": job.guarantee,
            **(job.config or {}),
        }
        return Process(job.group, [python, PEERS / f"{script}.py", json.dumps(asked)], job.folder)

    return process


def environment(requirements: str, extra: Iterable[str] = ()) -> Path:
    """Return the interpreter of a peer's environment, made if it is not there or its requirements changed."""
    pins = PEERS / f"{requirements}.txt"
    wanted = f"{sys.version}\n{pins.read_text()}\n{' '.join(extra)}"
    cache = Path(os.environ.get("KAFLEET_CACHE") or Path.home() / ".cache" / "kafleet")
    made = cache / "benchmarks" / f"{requirements}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python = made / "bin" / "python"
    ready = made / "ready"
    if not ready.exists():
        found = subprocess.run(
            [PROJECT / "local" / "ensure-uv"], stdout=subprocess.PIPE, text=True, check=True
        )
        uv = found.stdout.strip()
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, made], check=True)
        subprocess.run([uv, "pip", "sync", "--quiet", "--python", python, pins], check=True)
        if extra:
            subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *extra], check=True)
        ready.touch()
    return python


KAFLEET: Final = Candidate("Kafleet", _kafleet)
PLAIN: Final = Candidate("plain loop", _peer("plain"))
FASTSTREAM: Final = Candidate("FastStream", _peer("faststream_records", "faststream"))
FASTSTREAM_BATCHES: Final = Candidate("FastStream, batches", _peer("faststream_batches", "faststream"))
QUIX: Final = Candidate("Quix Streams", _peer("quix", "quix"))
PYRALLEL: Final = Candidate("pyrallel-consumer", _peer("pyrallel", "pyrallel", _PYRALLEL))

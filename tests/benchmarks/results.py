"""The figures that were measured, kept as JSON beside the code; a row can be measured anew alone."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka
from integration.servers import PROJECT, local_cluster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE: Final = Path(__file__).resolve().with_name("results.json")
_RUNTIME: Final = ("confluent-kafka", "uvloop", "pydantic")


def load() -> dict[str, Any]:
    """Return what was measured so far, by row."""
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def store(row: str, about: str, runs: Sequence[Mapping[str, Any]]) -> None:
    """Put a row's runs in the place of its last ones."""
    measured = {"about": about, **_circumstances(), "runs": [_rounded(run) for run in runs]}
    FILE.write_text(json.dumps({**load(), row: measured}, indent=1) + "\n")


def _circumstances() -> dict[str, Any]:
    """Say when, of which code, on what machine, and with what."""
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    is_changed = bool(_git("status", "--porcelain", "agent_image"))
    versions = {name: version(name) for name in _RUNTIME}
    return {
        "made": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "commit": f"{commit}, changed" if is_changed else commit,
        "machine": f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB, {_processor()}",
        "versions": {
            "Python": platform.python_version(),
            **versions,
            "librdkafka": confluent_kafka.libversion()[0],
            "Kafka": _kafka_version(),
        },
    }


def _git(*arguments: str) -> str:
    """Return what git prints; nothing where the project is no repository."""
    command = ["git", "-C", str(PROJECT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _rounded(run: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in run.items()}


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _kafka_version() -> str:
    jars = local_cluster("kafka-lib").glob("kafka-clients-*.jar")
    return next((jar.stem.rpartition("-")[2] for jar in jars), "unknown")

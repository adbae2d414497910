"""Running other programs, and saying on stderr what is going on; stdout is for results."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

TAIL_LINES = 15


class Failed(Exception):
    """Something the user has to know about; the message is the whole story."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(what: str, usually: str, *, say_every_seconds: float = 10) -> Iterator[None]:
    """Say what begins and how long it usually takes, then from time to time that it is still going on."""
    say(f"{what} (usually {usually})")
    begun = time.monotonic()
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(say_every_seconds):
            say(f"  still {what}: {time.monotonic() - begun:.0f} s, usually {usually}")

    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    try:
        yield
    finally:
        ended.set()
        ticking.join()
    if (seconds := time.monotonic() - begun) > say_every_seconds:
        say(f"  done: {seconds:.0f} s")


def run(
    *argv: str | Path, stdin: str = "", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a program quietly and return its stdout; `Failed` carries the end of what it said."""
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise Failed(f"{command[0]!r} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL_LINES:])
        raise Failed(f"{' '.join(command)[:200]} ended with status {done.returncode}:\n{tail}")
    return done.stdout


def succeeds(*argv: str | Path) -> bool:
    try:
        run(*argv)
    except Failed:
        return False
    return True


def install(needed: Mapping[str, str]) -> None:
    """Install with apt what is missing: `needed` maps a program or a file to its Debian package."""
    wanted = {package for name, package in needed.items() if not (shutil.which(name) or Path(name).exists())}
    if not wanted:
        return
    packages = sorted(wanted)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failed(
            f"missing on this machine: {', '.join(packages)} (Debian's names); install them and try again"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
    with step(f"installing {' '.join(packages)} with apt", "20 s"):
        run(*apt, "update", env=env)
        run(*apt, "install", "-y", "--no-install-recommends", *packages, env=env)


def uv() -> str:
    """Return the path of the uv that the project pins; the first time it is installed into the cache."""
    return run(Path(__file__).resolve().parent.parent / "ensure-uv").strip()


holders: set[tuple[int, Path]] = set()


@contextlib.contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock that the kernel releases when this process ends, however it ends.

    RuntimeError where this thread holds it already, and would wait for itself.
    """
    holder = (threading.get_ident(), lock)
    if holder in holders:
        raise RuntimeError(f"{str(lock)!r} is held already, by the caller itself")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"waiting for another command that holds {str(lock)!r}", "as long as that one needs"):
                fcntl.flock(file, fcntl.LOCK_EX)
        holders.add(holder)
        try:
            yield
        finally:
            holders.discard(holder)

"""Pid 1 of the node: makes the node's own view of the machine, starts the components and keeps them running.

It owns nothing outside its namespaces: when it ends, however it ends, the kernel ends every process of the
node, and mounts, bridges, firewall rules and pod networks go with the namespaces.
"""

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from localcluster import cgroups, components, probes
from localcluster.addresses import LINK_BITS, NODE, NODE_IP
from localcluster.components import BIN, PKI, STATE

ENVIRONMENT = {"PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/run"}
POLL_SECONDS = 0.05
START_SECONDS = 120
RESTART_SECONDS = 1

# The kubelet would write these settings for the whole machine: it is shown what it wants to see.
SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def main(state: Path, binaries: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.chdir("/")
    mount_folders(state, binaries)
    mount_kernel_views()
    socket.sethostname(NODE)
    connect()
    for file, text in components.configuration().items():
        write(file, text)
    running = Components()
    for name, command in components.storage().items():
        running.start(name, command)
    # Before the kubelet: it would fail pods whose image is not there yet.
    wait_until("containerd", Path("/run/containerd/containerd.sock").exists)
    for archive in sorted((STATE / "images").glob("*.tar")):
        wait_until(f"import of {archive.name}", functools.partial(import_image, archive))
    wait_until("API server", lambda: probes.api_answers("/readyz", PKI))
    for name, command in components.clients().items():
        running.start(name, command)
    running.keep()


def mount_folders(state: Path, binaries: Path) -> None:
    """Give the node a /run and /var of its own, with the state and the programs at fixed places in /run."""
    run = state / "run"  # both may lie in the /run or /var that is about to be covered
    run.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", run)
    for folder, place in ((state, STATE), (binaries, BIN)):
        target = run / place.relative_to("/run")
        target.mkdir()
        mount("--bind", folder, target)
    mount("--move", run, "/run")
    var = STATE / "var"
    for name in ("lib/volume", "log", "tmp", "cache"):
        (var / name).mkdir(parents=True, exist_ok=True)
    if not (var / "run").is_symlink():
        (var / "run").symlink_to("/run")
    mount("--bind", var, "/var")


def mount_kernel_views() -> None:
    """Show the node a sysfs of its own network, the machine's cgroups on it, and the sysctls it asks for."""
    cgroup_tree = Path("/run/cgroup")
    cgroup_tree.mkdir()
    mount("--rbind", cgroups.ROOT, cgroup_tree)
    mount("-t", "sysfs", "sysfs", "/sys")
    mount("--rbind", cgroup_tree, cgroups.ROOT)
    subprocess.run(["umount", "-R", str(cgroup_tree)], check=True)
    for name, value in SYSCTLS.items():
        file = Path("/proc/sys") / name
        if file.exists():
            shown = Path("/run/sysctl") / name
            write(shown, f"{value}\n")
            mount("--bind", shown, file)
    mount("--make-rshared", "/")  # pods may ask for mount propagation


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", "--no-mtab", *map(str, words)], check=True)


def connect() -> None:
    """Take the end of the link that `up` puts into this network namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    wait_until("link", Path("/sys/class/net/eth0").exists)
    subprocess.run(["ip", "address", "add", f"{NODE_IP}/{LINK_BITS}", "dev", "eth0"], check=True)
    subprocess.run(["ip", "link", "set", "eth0", "up"], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def import_image(archive: Path) -> bool:
    command = [str(BIN / "ctr"), "-n", "k8s.io", "images", "import", str(archive)]
    return subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=False).returncode == 0


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"gave up waiting for {what} after {START_SECONDS} s")
        time.sleep(POLL_SECONDS)


class Components:
    """The components' processes; like every pid 1 it also reaps what nobody else waits for."""

    def __init__(self) -> None:
        self._commands: dict[str, list[str]] = {}
        self._names: dict[int, str] = {}

    def start(self, name: str, command: list[str]) -> None:
        self._commands[name] = command
        log, mode = STATE / "log" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # Not subprocess, which reaps behind one's back: an end that is missed is never followed by a start.
        pid = os.posix_spawn(
            command[0],
            command,
            ENVIRONMENT,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), mode, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        self._names[pid] = name

    def keep(self) -> None:
        """Start again whatever ends, for ever."""
        while True:
            pid, status = os.wait()
            if name := self._names.pop(pid, None):
                code = os.waitstatus_to_exitcode(status)
                print(f"{name} ended with status {code}; starting it again", flush=True)
                time.sleep(RESTART_SECONDS)
                self.start(name, self._commands[name])

"""What of the native cluster is on this machine: its processes, its link, its routes, its cgroups.

Everything is read from the kernel each time, never from a file that could be stale.
"""

import contextlib
import enum
import json
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localcluster import cgroups
from localcluster.addresses import HOST_IP, LINK, LINK_BITS, NODE_IP, POD_CIDR, SERVICE_CIDR
from localcluster.programs import Failed, run

PROC = Path("/proc")
ROUTES = frozenset({POD_CIDR, SERVICE_CIDR})


@dataclass(frozen=True, slots=True)
class Node:
    """A running node: its pid 1 in the host's numbers, and what it was started with."""

    pid: int
    state: str
    edition: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is of ours on the machine."""

    node: Node | None
    processes: frozenset[int]
    has_link: bool
    routes: frozenset[str]


class Condition(enum.Enum):
    ABSENT = "nothing is there"
    WHOLE = "the node runs as it should"
    HALFWAY = "something is there that no complete start leaves"


def condition_of(machine: Machine, *, edition: str) -> Condition:
    """Judge what is there, `edition` being the programs and configuration a start would use."""
    if machine.node is None and not machine.processes and not machine.has_link:
        return Condition.ABSENT
    if machine.node and machine.node.edition == edition and machine.has_link and machine.routes >= ROUTES:
        return Condition.WHOLE
    return Condition.HALFWAY


def look() -> Machine:
    processes = frozenset(cgroups.members())
    return Machine(find_node(processes), processes, has_link(), routes())


def find_node(processes: Iterable[int], proc: Path = PROC) -> Node | None:
    """Return the node whose pid 1 is among the processes; containers' pid 1s lie one namespace deeper."""
    for pid in sorted(processes):
        with contextlib.suppress(OSError):  # ended between listing and reading
            numbers = namespace_pids((proc / str(pid) / "status").read_text())
            words = (proc / str(pid) / "cmdline").read_text().split("\0")
            if len(numbers) == 2 and numbers[-1] == 1 and "_node" in words:  # noqa: PLR2004 - the host's and the node's
                _, state, _, edition, *_ = words[words.index("_node") :]
                return Node(pid, state, edition)
    return None


def namespace_pids(status: str) -> list[int]:
    """Return a process's numbers, from the outermost pid namespace inward (`NSpid` of proc(5))."""
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            return [int(word) for word in line.split()[1:]]
    raise Failed("the kernel tells no NSpid in /proc/<pid>/status; Linux 4.1 or later is needed")


def has_link() -> bool:
    return Path("/sys/class/net", LINK).exists()


def routes() -> frozenset[str]:
    """Return the destinations that are reached through our link."""
    if not has_link():
        return frozenset()
    listed = json.loads(run("ip", "-json", "-4", "route", "show", "dev", LINK) or "[]")
    return frozenset(route["dst"] for route in listed)


def connect(pid: int) -> None:
    """Join the machine with the network namespace of the node's pid 1."""
    run("ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "address", "add", f"{HOST_IP}/{LINK_BITS}", "dev", LINK)
    run("ip", "link", "set", LINK, "up")
    for network in sorted(ROUTES):
        run("ip", "route", "add", network, "via", NODE_IP, "dev", LINK)


def clear() -> None:
    """Remove all of it; the files of the state stay."""
    if node := find_node(cgroups.members()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.pid, signal.SIGKILL)  # takes every process of its namespace along
        # Its parent reaps it and ends; killed first, it would leave a zombie where nobody else reaps.
        cgroups.wait_for_members_to_end()
    cgroups.kill_members()
    if has_link():  # it goes with the node's namespace, a moment later
        with contextlib.suppress(Failed):
            run("ip", "link", "delete", LINK)
    cgroups.remove()

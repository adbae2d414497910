"""The cgroups of the node: one tree called `kafleet`, of which every process of the node is a member.

Membership is inherited, so that it answers "what is still running?" whatever became of our own files.
cgroup v1 is what it is run on daily; v2 has been run once, on Debian 12 with systemd in an emulated machine.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from localcluster.programs import Failed

ROOT = Path("/sys/fs/cgroup")
NAME = "kafleet"
NEEDED = frozenset({"cpu", "cpuset", "hugetlb", "io", "memory", "pids"})  # by the kubelet and runc
GIVE_UP_SECONDS = 20
POLL_SECONDS = 0.02


def is_unified(root: Path = ROOT) -> bool:
    """Tell whether the machine has cgroup v2 only; a hybrid one counts as v1, like for the kubelet."""
    return (root / "cgroup.controllers").exists()


def trees(root: Path = ROOT) -> list[Path]:
    """Return our top group in each hierarchy, whether it exists or not."""
    if is_unified(root):
        return [root / NAME]
    # A symlink is a second name: `cpu` of `cpu,cpuacct`.
    return sorted(path / NAME for path in root.iterdir() if path.is_dir() and not path.is_symlink())


def node_group(root: Path = ROOT) -> Path:
    """Return the group of the node's own programs, a leaf beside the pods' groups."""
    return (root if is_unified(root) else root / "memory") / NAME / "node"


def make(root: Path = ROOT) -> None:
    for tree in trees(root):
        tree.mkdir(exist_ok=True)
        if is_unified(root):
            for group in (root, tree):
                controllers = NEEDED & set((group / "cgroup.controllers").read_text().split())
                (group / "cgroup.subtree_control").write_text(
                    " ".join(f"+{name}" for name in sorted(controllers))
                )
        elif tree.parent.name == "cpuset":  # an empty cpuset admits no process
            for name in ("cpuset.cpus", "cpuset.mems"):
                (tree / name).write_text((tree.parent / name).read_text())
    node_group(root).mkdir(exist_ok=True)


def members(root: Path = ROOT) -> set[int]:
    """Return every process of the node in the host's numbers, pods included."""
    found: set[int] = set()
    for tree in trees(root):
        for procs in tree.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):  # the group went between listing and reading
                found.update(map(int, procs.read_text().split()))
    return found


def wait_for_members_to_end() -> None:
    """Wait a while for the processes of the node to end by themselves."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while members() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def kill_members() -> None:
    """End every process of the node and wait until they are gone."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while alive := members():
        if time.monotonic() > deadline:
            raise Failed(f"processes {sorted(alive)} of the node do not end; look at /proc/<pid>/stack")
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def remove() -> None:
    """Remove our trees, which must have no members; the kernel may need a moment to let go of them."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    for tree in trees():
        for folder, _, _ in os.walk(tree, topdown=False):
            while not removed(Path(folder)):
                if time.monotonic() > deadline:
                    raise Failed(f"the cgroup {folder!r} stays busy; see its cgroup.procs")
                time.sleep(POLL_SECONDS)


def removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True

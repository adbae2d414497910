"""What is on the machine is read from the kernel, and only a complete, current node counts as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from localcluster import machine
from localcluster.machine import ROUTES, Condition, Machine, Node
from localcluster.programs import Failed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NODE = Node(pid=42, state="/state", edition="new")
HALF_THE_ROUTES = frozenset(sorted(ROUTES)[:1])


def running(
    *, node: Node | None = None, pids: Iterable[int] = (), link: bool, routes: frozenset[str]
) -> Machine:
    return Machine(node, frozenset(pids), link, routes)


NONE: frozenset[str] = frozenset()
OLDER = Node(pid=42, state="/state", edition="old")


@pytest.mark.parametrize(
    ("found", "condition"),
    [
        pytest.param(running(link=False, routes=NONE), Condition.ABSENT, id="nothing"),
        pytest.param(
            running(node=NODE, pids={41, 42}, link=True, routes=ROUTES), Condition.WHOLE, id="all of it"
        ),
        pytest.param(running(pids={41}, link=False, routes=NONE), Condition.HALFWAY, id="no pid 1 yet"),
        pytest.param(
            running(node=NODE, pids={42}, link=False, routes=NONE), Condition.HALFWAY, id="no link yet"
        ),
        pytest.param(
            running(node=NODE, pids={42}, link=True, routes=HALF_THE_ROUTES),
            Condition.HALFWAY,
            id="one route",
        ),
        pytest.param(running(link=True, routes=ROUTES), Condition.HALFWAY, id="only a link"),
        pytest.param(
            running(node=OLDER, pids={42}, link=True, routes=ROUTES), Condition.HALFWAY, id="older edition"
        ),
    ],
)
def test_condition_of_what_is_there(found: Machine, condition: Condition) -> None:
    assert machine.condition_of(found, edition="new") is condition


def process(proc: Path, pid: int, numbers: str, *words: str) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "status").write_text(f"Name:\tx\nNSpid:\t{numbers}\nThreads:\t1\n")
    (proc / str(pid) / "cmdline").write_text("\0".join(words) + "\0")


def test_node_is_the_first_process_of_the_namespace_that_was_started_as_one(tmp_path: Path) -> None:
    start = ("python3", "-u", "local/cluster", "_node", "/state", "/bin-folder", "edition")
    process(tmp_path, 40, "40", "unshare", *start)
    process(tmp_path, 41, "41\t1", *start)
    process(tmp_path, 50, "50\t9", "/run/kafleet-bin/etcd")
    process(tmp_path, 60, "60\t30\t1", "/pause")
    gone = 70

    assert machine.find_node({40, 41, 50, 60, gone}, tmp_path) == Node(41, "/state", "edition")
    assert machine.find_node({40, 50, 60, gone}, tmp_path) is None


def test_kernel_without_namespace_pids_is_refused() -> None:
    with pytest.raises(Failed, match=r"Linux 4\.1"):
        machine.namespace_pids("Name:\tx\nPid:\t1\n")

"""One tree in every hierarchy of cgroup v1, one in all of v2; a folder stands for the kernel's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from localcluster import cgroups

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    for name in ("cpu,cpuacct", "cpuset", "memory", "unified"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    (tmp_path / "cpuset" / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset" / "cpuset.mems").write_text("0\n")
    return tmp_path


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path / "kafleet"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids rdma\n")
        (folder / "cgroup.subtree_control").touch()
    return tmp_path


def test_v1_has_a_tree_in_every_hierarchy_and_an_inhabitable_cpuset(v1: Path) -> None:
    cgroups.make(v1)

    assert [tree.relative_to(v1).as_posix() for tree in cgroups.trees(v1)] == [
        "cpu,cpuacct/kafleet",
        "cpuset/kafleet",
        "memory/kafleet",
        "unified/kafleet",
    ]
    assert all(tree.is_dir() for tree in cgroups.trees(v1))
    assert (v1 / "cpuset/kafleet/cpuset.cpus").read_text() == "0-1\n"
    assert cgroups.node_group(v1) == v1 / "memory/kafleet/node"
    assert cgroups.node_group(v1).is_dir()


def test_v2_has_one_tree_whose_children_get_what_the_kubelet_needs(v2: Path) -> None:
    cgroups.make(v2)

    assert cgroups.trees(v2) == [v2 / "kafleet"]
    for group in (v2, v2 / "kafleet"):
        assert (group / "cgroup.subtree_control").read_text() == "+cpu +cpuset +io +memory +pids"
    assert cgroups.node_group(v2).is_dir()  # processes live in leaves only: this is one


def test_making_them_again_changes_nothing(v1: Path) -> None:
    cgroups.make(v1)
    before = sorted(v1.rglob("*"))

    cgroups.make(v1)

    assert sorted(v1.rglob("*")) == before


def test_members_are_those_of_every_group_below(v1: Path) -> None:
    cgroups.make(v1)
    (cgroups.node_group(v1) / "cgroup.procs").write_text("10\n11\n")
    pod = v1 / "cpu,cpuacct/kafleet/kubepods/pod1"
    pod.mkdir(parents=True)
    (pod / "cgroup.procs").write_text("12\n")
    (v1 / "memory" / "cgroup.procs").write_text("1\n")

    assert cgroups.members(v1) == {10, 11, 12}

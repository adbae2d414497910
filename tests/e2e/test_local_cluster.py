"""The native cluster starts from every half-way state and leaves nothing behind; its state is its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from localcluster import cgroups, clusters, machine, native, probes
from localcluster.paths import LOCAL, STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.destructive,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="a cluster without Docker needs root"),
    pytest.mark.skipif(clusters.cluster() is not native, reason="with Docker, kind is the cluster"),
]

COMMAND = LOCAL / "cluster"
NAMESPACES = ("ipc", "mnt", "net", "pid", "uts")
SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/ip_forward",
)


def cluster(*words: str, state: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KAFLEET_LOCAL_STATE": str(state)}
    return subprocess.run(
        [COMMAND, *words], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def succeed(*words: str, state: Path) -> str:
    done = cluster(*words, state=state)
    assert done.returncode == 0, done.stderr
    return done.stdout


def output_of(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout


def wait_until(what: str, is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s"
        time.sleep(0.01)


def node_pid() -> int:
    node = machine.look().node
    assert node is not None
    return node.pid


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Take the usual cluster's place, with an empty state, and give it back at the end."""
    usual = STATE
    was_up = machine.look().node is not None
    succeed("down", state=usual)
    own = tmp_path_factory.mktemp("state")
    yield own
    succeed("down", "--purge", state=own)
    if was_up:
        succeed("up", state=usual)


def marks_on_the_machine() -> dict[str, str]:
    """Return what a cluster could have changed outside its own namespaces and did not put into its state."""
    return {
        "links": output_of("ip", "-brief", "link", "show"),
        "routes": output_of("ip", "route", "show", "table", "all"),
        "rules": output_of("ip", "rule", "show"),
        "firewall": output_of("nft", "list", "tables"),
        "mounts": Path("/proc/self/mounts").read_text(),
        "cgroups": "\n".join(str(tree) for tree in cgroups.trees() if tree.exists()),
        "settings": "\n".join(Path("/proc/sys", name).read_text().strip() for name in SYSCTLS),
    }


def namespaces_of(process: int | str) -> set[str]:
    found = set()
    for name in NAMESPACES:
        try:
            found.add(str(Path(f"/proc/{process}/ns/{name}").readlink()))
        except OSError:
            continue  # it ended, or it is a zombie
    return found


def inhabited_namespaces() -> set[str]:
    return set().union(
        *(namespaces_of(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    )


def test_down_leaves_nothing_on_the_machine_and_purge_no_data(state: Path) -> None:
    succeed("down", "--purge", state=state)
    before = marks_on_the_machine()

    succeed("up", state=state)
    namespaces = namespaces_of(node_pid()) - namespaces_of("self")
    assert len(namespaces) == len(NAMESPACES)
    assert marks_on_the_machine() != before  # or else the comparison below proves nothing
    succeed("down", state=state)

    assert marks_on_the_machine() == before
    assert namespaces & inhabited_namespaces() == set()
    assert cgroups.members() == set()
    assert (state / "var/lib/etcd").exists()

    succeed("down", "--purge", state=state)

    assert not state.exists()


def test_up_twice_is_up_once(state: Path) -> None:
    succeed("up", state=state)
    pid = node_pid()

    succeed("up", state=state)

    assert node_pid() == pid


def test_down_twice_is_down_once(state: Path) -> None:
    succeed("up", state=state)
    succeed("down", state=state)

    succeed("down", state=state)

    assert cluster("status", state=state).returncode == 3


def test_data_survive_the_death_of_the_node(state: Path) -> None:
    succeed("up", state=state)
    succeed("kubectl", "create", "configmap", "kept", "--from-literal=a=b", state=state)
    pid = node_pid()
    os.kill(pid, signal.SIGKILL)

    succeed("up", state=state)

    assert node_pid() != pid
    assert succeed("kubectl", "get", "configmap", "kept", "-o", "jsonpath={.data.a}", state=state) == "b"
    succeed("kubectl", "delete", "configmap", "kept", state=state)


@pytest.mark.parametrize(
    "reached",
    [
        pytest.param(lambda _: cgroups.node_group().exists(), id="cgroup"),
        pytest.param(lambda _: bool(cgroups.members()), id="first process"),
        pytest.param(lambda _: machine.has_link(), id="link"),
        pytest.param(lambda _: machine.routes() >= machine.ROUTES, id="routes"),
        pytest.param(lambda state: probes.api_answers("/readyz", state / "pki"), id="API server"),
    ],
)
def test_up_takes_over_from_one_that_was_killed(state: Path, reached: Callable[[Path], bool]) -> None:
    succeed("down", state=state)
    first = subprocess.Popen(
        [COMMAND, "up"],
        env={**os.environ, "KAFLEET_LOCAL_STATE": str(state)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until("the stage", lambda: reached(state))
    first.kill()
    first.wait()

    succeed("up", state=state)

    assert succeed("kubectl", "get", "--raw", "/readyz", state=state) == "ok"
    assert cluster("status", state=state).returncode == 0


CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def test_volume_can_be_claimed_again_after_its_claim_is_gone(state: Path, tmp_path: Path) -> None:
    (tmp_path / "claim.yaml").write_text(CLAIM)
    succeed("up", state=state)

    for _ in range(2):
        succeed("kubectl", "apply", "-f", str(tmp_path / "claim.yaml"), state=state)
        succeed(
            "kubectl",
            "wait",
            "pvc/claim",
            "--for=jsonpath={.status.phase}=Bound",
            "--timeout=240s",
            state=state,
        )
        succeed("kubectl", "delete", "pvc/claim", state=state)
        succeed("kubectl", "wait", "pv/node-disk", "--for=jsonpath={.status.phase}=Released", state=state)
        succeed("up", state=state)


def test_a_second_cluster_is_refused_with_the_way_out(state: Path, tmp_path: Path) -> None:
    succeed("up", state=state)

    refused = cluster("up", state=tmp_path)

    assert refused.returncode == 1
    assert f"KAFLEET_LOCAL_STATE={state} local/cluster down" in refused.stderr

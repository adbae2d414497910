"""The cluster on a machine without Docker: one node made of Linux namespaces, run by `node.py`."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from localcluster import archives, binaries, buildah, caching, cgroups, components, machine, probes, programs
from localcluster.addresses import API_PORT, NODE, NODE_IP
from localcluster.images import Builder
from localcluster.machine import Condition, Node
from localcluster.paths import KUBECONFIG, LOCAL, STATE
from localcluster.programs import Failed, run, say, step

LOCK = Path("/run/lock/kafleet-local")  # one cluster a machine, whatever the state folder
PKI = STATE / "pki"
LOG = STATE / "log"
VAR = STATE / "var"
MANIFEST = LOCAL / "native.yaml"
PACKAGES = {
    "ip": "iproute2",
    "iptables": "iptables",  # for pods with host ports
    "nft": "nftables",  # kube-proxy's services
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
BOOT_SECONDS = 120
USUALLY = "15 to 30 s"


def up() -> None:
    """Make the cluster run, from whatever state the machine is in, and return when it serves."""
    refuse_without_root()
    programs.install(PACKAGES)
    folder = binaries.binaries()
    with programs.exclusive(LOCK):
        found = machine.look()
        refuse_another(found.node)
        condition = machine.condition_of(found, edition=edition(folder))
        if condition is Condition.WHOLE:
            settle()
            return
        with step("starting the local cluster", USUALLY):
            if condition is Condition.HALFWAY:
                say("  removing what an earlier start or end left half-way")
                machine.clear()
            boot(folder)
            settle()


def down(*, purge: bool) -> None:
    """End the node and remove everything of it from the machine; its data stay unless `purge`."""
    refuse_without_root()
    with programs.exclusive(LOCK):
        refuse_another(machine.look().node)
        machine.clear()
        forget_containers()
        KUBECONFIG.unlink(missing_ok=True)
        if purge:
            shutil.rmtree(STATE, ignore_errors=True)
    say("the local cluster is down" + (" and its data are gone" if purge else ""))


def refuse_without_root() -> None:
    if os.geteuid() != 0:
        raise Failed(
            "no Docker engine answers, and a cluster without Docker needs root: become root or start Docker"
        )


def refuse_another(node: Node | None) -> None:
    if node and node.state != str(STATE):
        raise Failed(
            f"another cluster runs on this machine, with its state in {node.state!r}:"
            f" end it with KAFLEET_LOCAL_STATE={node.state} local/cluster down"
        )


def edition(folder: Path) -> str:
    """Name what a node is started with: a running one of another edition is started anew."""
    here = Path(__file__).parent
    sources = [here / name for name in ("addresses.py", "components.py", "node.py")]
    return caching.key_of(sources, str(folder))


def boot(folder: Path) -> None:
    """Start pid 1 of the node and join its network; whoever dies in here leaves a half-way state."""
    for name in ("images", "etc"):
        (STATE / name).mkdir(parents=True, exist_ok=True)
    forget_containers()
    keep_previous_logs()
    issue_certificates(folder)
    archives.write_program(
        STATE / "images" / "pause.tar", components.PAUSE_IMAGE, folder / "pause", user="65535:65535"
    )
    archives.write_program(STATE / "images" / "coredns.tar", components.COREDNS_IMAGE, folder / "coredns")
    cgroups.make()
    with (LOG / "node.log").open("ab") as log:
        process = subprocess.Popen(
            [
                # In its cgroup before it makes anything, so that it is found from the first moment on.
                *("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(cgroups.node_group())),
                *("unshare", "--net", "--mount", "--pid", "--uts", "--ipc"),
                *("--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-u", str(LOCAL / "cluster")),
                *("_node", str(STATE), str(folder), edition(folder)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    until("the node's first process", lambda: machine.look().node is not None, process)
    node = machine.look().node
    if node is None:
        raise Failed(f"the node ended at once; see {str(LOG)!r}")
    machine.connect(node.pid)


def forget_containers() -> None:
    """Drop the kubelet's and containerd's notes on containers that ended with the node."""
    for name in ("lib/kubelet", "lib/containerd/io.containerd.runtime.v2.task", "log", "tmp"):
        shutil.rmtree(VAR / name, ignore_errors=True)


def keep_previous_logs() -> None:
    previous = LOG.with_name("log.previous")
    shutil.rmtree(previous, ignore_errors=True)
    if LOG.exists():
        LOG.rename(previous)
    LOG.mkdir()


def issue_certificates(folder: Path) -> None:
    """Make the cluster's certificates and kubeconfigs once; a cluster keeps its identity."""
    if not PKI.exists():
        part = PKI.with_name("pki.part")
        shutil.rmtree(part, ignore_errors=True)
        run(
            *(folder / "kube", "pki", "--dir", part, "--node", NODE),
            *("--server", f"https://{NODE_IP}:{API_PORT}", "--ips", ",".join(components.CERTIFICATE_IPS)),
        )
        part.rename(PKI)


def settle() -> None:
    """Wait until the API, the node and the cluster's DNS serve; doing it twice changes nothing."""
    until("the API server", lambda: probes.api_answers("/readyz", PKI))
    shutil.copyfile(PKI / "admin.kubeconfig", KUBECONFIG)
    KUBECONFIG.chmod(0o600)
    free_volume()
    kubectl("apply", "--server-side", "-f", MANIFEST)
    until("the node's registration", lambda: probes.api_answers(f"/api/v1/nodes/{NODE}", PKI))
    kubectl("wait", f"node/{NODE}", "--for=condition=Ready", f"--timeout={BOOT_SECONDS}s")
    # After a restart the stored statuses still say what was; an answer is proof.
    until("DNS", lambda: probes.name_resolves("kubernetes.default.svc.cluster.local"))


def free_volume() -> None:
    """Let the node's volume be claimed again when its claim is gone, as an administrator would."""
    volume = ("pv", "node-disk", "--ignore-not-found")
    if kubectl("get", *volume, "-o", "jsonpath={.status.phase}") == "Released":
        kubectl("delete", *volume)


def until(what: str, is_so: Callable[[], bool], starting: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not is_so():
        if starting.poll() is not None if starting else machine.look().node is None:
            raise Failed(f"the node ended while waiting for {what}; see {str(LOG)!r}")
        if time.monotonic() > deadline:
            raise Failed(
                f"gave up waiting for {what} after {BOOT_SECONDS} s; see {str(LOG)!r},"
                " then `local/cluster down` and `up` again (`down --purge` drops its data as well)"
            )
        time.sleep(0.1)


def kubectl(*words: str | Path) -> str:
    return run(*kubectl_command(), *words)


def kubectl_command() -> list[str]:
    return [str(binaries.binaries() / "kubectl"), f"--kubeconfig={KUBECONFIG}"]


def enter() -> list[str]:
    """Return the words that run a command inside the node."""
    node = machine.look().node
    if node is None:
        raise Failed("the cluster is down; start it with `local/cluster up`")
    return ["nsenter", "-t", str(node.pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--"]


def shell_command() -> list[str]:
    return [*enter(), "env", f"PATH={components.BIN}:/usr/sbin:/usr/bin:/sbin:/bin"]


def load_image(archive: Path) -> None:
    """Import every image of a docker or OCI archive into the node."""
    command = [*enter(), f"{components.BIN}/ctr", "-n", "k8s.io", "images", "import", "-"]
    with archive.open("rb") as file:  # as its stdin: the path need not exist inside the node
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{str(archive)!r} cannot be imported: {done.stderr.strip()}")


def builder() -> Builder:
    return buildah.builder()


def images() -> set[str]:
    """Return the names of the images that the node has."""
    return set(run(*enter(), f"{components.BIN}/ctr", "-n", "k8s.io", "images", "ls", "-q").split())


def status() -> bool:
    """Print what runs and how much memory it takes; tell whether the cluster serves."""
    found = machine.look()
    if found.node is None:
        print("down")
        return False
    serves = probes.api_answers("/readyz", PKI)
    shares = sorted(((share(pid), name_of(pid)) for pid in found.processes), reverse=True)
    lines = [f"{'up' if serves else 'not ready'}: node pid {found.node.pid}, KUBECONFIG={KUBECONFIG}"]
    lines += [f"{mebibytes:8.1f} MiB  {name}" for mebibytes, name in shares]
    lines += [f"{sum(mebibytes for mebibytes, _ in shares):8.1f} MiB  together"]
    print("\n".join(lines))
    return serves


def share(pid: int) -> float:
    """Return a process's proportional share of memory in MiB; 0 for one that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0)


def name_of(pid: int) -> str:
    try:
        return Path(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]).name
    except OSError:
        return "?"

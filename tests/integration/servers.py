"""A real API server and a real broker for integration tests: on loopback, without a kubelet.

Every process is asked of the kernel to die with pytest, so that nothing is left however a run ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from confluent_kafka.admin import AdminClient
from integration.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PROJECT = Path(__file__).resolve().parents[2]
KUBECTL = Path(sys.executable).parent / "kubectl"
DEADLINE_SECONDS = 120.0  # for what hangs: a machine under load may stop a process for many seconds
PATIENCE_SECONDS = 60.0  # for a single answer
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "namespace-controller",
    "clusterrole-aggregation-controller",
)

Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None], *, seconds: float = DEADLINE_SECONDS) -> Found:
    """Look again and again until something true is found, and return it; AssertionError after the deadline.

    An AssertionError of `look` counts as not yet, and is what the reader sees in the end.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > deadline  # known before the look, which may be long under way
        reason: AssertionError | None = None
        try:
            found = look()
        except AssertionError as error:
            reason = error
        else:
            if found:
                return found
        if is_last:
            raise reason or AssertionError(f"not within {seconds:g} s: {found!r}")
        time.sleep(0.1)


def local_cluster(command: str) -> Path:
    """Return the folder that `local/cluster bin` or `local/cluster kafka-lib` prints."""
    printed = subprocess.run(
        [PROJECT / "local" / "cluster", command], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(printed.stdout.strip())


class Process:
    """A program with its log in a file; it can be stopped and started again."""

    def __init__(
        self, name: str, command: list[str | Path], folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [str(word) for word in command]
        self._env = env
        self._running: subprocess.Popen[bytes] | None = None
        self._begins = self.log.stat().st_size if self.log.exists() else 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(self._env or {})},
            )

    def stop(self, how: signal.Signals = signal.SIGTERM, *, seconds: float = DEADLINE_SECONDS) -> int:
        """End the process and return its exit status; 0 if it does not run."""
        if self._running is None:
            return 0
        running, self._running = self._running, None
        running.send_signal(how)
        try:
            return running.wait(seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            raise AssertionError(f"{self.name} did not end within {seconds:g} s of {how.name}") from None

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Wait until the process ends by itself, and return its exit status."""
        assert self._running, f"{self.name} was not started"
        status, self._running = self._running.wait(seconds), None
        return status

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        return self._running.pid if self._running and self._running.poll() is None else None

    def lines(self) -> list[str]:
        """Return the lines of the log so far that are whole, without those of a namesake before."""
        text = self.log.read_bytes()[self._begins :] if self.log.exists() else b""
        return text[: text.rfind(b"\n") + 1].decode(errors="replace").splitlines()

    def check(self) -> None:
        """Fail with the end of the log if the process ended by itself."""
        if self._running and self._running.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"{self.name} ended with status {self._running.returncode}:\n{tail}")


class Kubernetes:
    """etcd, kube-apiserver and a few controllers; `kubeconfig` is an administrator's."""

    def __init__(self, folder: Path) -> None:
        binaries = local_cluster("bin")
        etcd_port, peer_port, self._port, manager_port = free_ports(4)
        pki = folder / "pki"
        self.server = f"https://127.0.0.1:{self._port}"
        subprocess.run(
            [
                *(binaries / "kube", "pki", "--dir", pki, "--server", self.server),
                *("--node", "none", "--ips", "127.0.0.1"),
            ],
            check=True,
        )
        self.kubeconfig = pki / "admin.kubeconfig"
        self.certificate_authority = pki / "ca.crt"
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._audit_log = folder / "audit.log"
        self._audited, self._audited_bytes = list[dict[str, Any]](), 0
        (policy := folder / "audit.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
        self._etcd = Process(
            "etcd",
            [
                binaries / "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{etcd_port}",
                f"--advertise-client-urls=http://127.0.0.1:{etcd_port}",
                f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
                "--unsafe-no-fsync",
            ],
            folder,
        )
        self.api_server = Process(
            "kube-apiserver",
            [
                *(binaries / "kube", "kube-apiserver"),
                "--bind-address=127.0.0.1",
                f"--secure-port={self._port}",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                f"--etcd-servers=http://127.0.0.1:{etcd_port}",
                "--authorization-mode=RBAC",
                # As OpenShift: blocking an owner's deletion takes the right to update its finalizers.
                "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
                f"--client-ca-file={pki / 'ca.crt'}",
                f"--tls-cert-file={pki / 'apiserver.crt'}",
                f"--tls-private-key-file={pki / 'apiserver.key'}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={pki / 'sa.pub'}",
                f"--service-account-signing-key-file={pki / 'sa.key'}",
                "--service-cluster-ip-range=10.0.0.0/24",
                f"--audit-policy-file={policy}",
                f"--audit-log-path={self._audit_log}",
            ],
            folder,
        )
        self._manager = Process(
            "kube-controller-manager",
            [
                *(binaries / "kube", "kube-controller-manager"),
                f"--controllers={','.join(CONTROLLERS)}",
                "--bind-address=127.0.0.1",
                f"--secure-port={manager_port}",
                f"--kubeconfig={pki / 'controller-manager.kubeconfig'}",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={pki / 'sa.key'}",
                f"--root-ca-file={pki / 'ca.crt'}",
            ],
            folder,
        )

    def start(self) -> None:
        self._etcd.start()
        self.api_server.start()

    def await_ready(self) -> None:
        eventually(self._is_ready)
        if self._manager.pid is None:
            self._manager.start()

    def stop(self) -> None:
        for process in (self._manager, self.api_server, self._etcd):
            process.kill()

    def requests_of(self, user: str) -> list[dict[str, Any]]:
        """Return the answered requests of a user so far, as audit events; a watch may be there twice."""
        with self._audit_log.open("rb") as log:
            log.seek(self._audited_bytes)
            written = log.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._audited_bytes += len(whole)
        self._audited += map(json.loads, whole.splitlines())
        return [event for event in self._audited if event["user"]["username"] == user]

    def read(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """Read a path of the API as the administrator; None where there is nothing."""
        status, answer = self.send("GET", path)
        return None if status == HTTPStatus.NOT_FOUND else json.loads(answer)

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Merge a body into an object, or into a subresource."""
        status, answer = self.send("PATCH", path, json.dumps(body))
        assert status == HTTPStatus.OK, answer

    def create(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Post a body to a path and return what the API server made of it."""
        status, answer = self.send("POST", path, json.dumps(body), "application/json")
        assert status == HTTPStatus.CREATED, answer
        return json.loads(answer)

    def kubectl(self, *arguments: str, given: object = None) -> str:
        """Run kubectl as the administrator and return what it prints; `given` is its input, as JSON."""
        done = subprocess.run(
            [KUBECTL, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def send(
        self, method: str, path: str, body: str | None = None, kind: str = "application/merge-patch+json"
    ) -> tuple[int, bytes]:
        """Ask as the administrator and return the answer's status and body."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._context, timeout=PATIENCE_SECONDS
        )
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _is_ready(self) -> bool:
        self._etcd.check()
        self.api_server.check()
        with contextlib.suppress(OSError):
            return self.send("GET", "/readyz")[0] == HTTPStatus.OK
        return False


# Who asked for what, of service accounts only: a watch when it begins and ends, others when answered.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts:kafleet-system"]}],
}


class Broker:
    """One Kafka node in KRaft mode that keeps its data and its addresses over stops.

    `listeners` are further ones, names with their protocols; `advertised` says where clients find them if not
    there; `settings` and `java` options go over the usual.
    """

    def __init__(
        self,
        folder: Path,
        listeners: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        java: Iterable[str] = (),
        advertised: Mapping[str, str] | None = None,
    ) -> None:
        jars = local_cluster("kafka-lib")
        protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        controller_port, *ports = free_ports(1 + len(protocols))
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in zip(protocols, ports, strict=True)}
        self.bootstrap_servers = self.addresses["PLAINTEXT"]
        listening = _listed(self.addresses)
        configuration = folder / "server.properties"
        merged = {
            **BROKER_SETTINGS,
            "log.dirs": folder / "data",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"{listening},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": _listed({**self.addresses, **(advertised or {})}),
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in {"CONTROLLER": "PLAINTEXT", **protocols}.items()
            ),
            **(settings or {}),
        }
        configuration.write_text("".join(f"{name}={value}\n" for name, value in merged.items()))
        (logging := folder / "log4j2.properties").write_text(BROKER_LOGGING)
        java = ["java", *JAVA_OPTIONS, *java, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]
        subprocess.run(
            [
                *java,
                "kafka.tools.StorageTool",
                *("format", "--cluster-id", "a2FmbGVldC10ZXN0LTAwMQ", "--config", configuration),
            ],
            check=True,
            capture_output=True,
        )
        self.process = Process("kafka", [*java, "kafka.Kafka", configuration], folder)

    def start(self) -> None:
        self.process.start()

    def await_ready(self) -> None:
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

        def answers() -> bool:
            self.process.check()
            with contextlib.suppress(Exception):
                return bool(client.list_topics(timeout=2).brokers)
            return False

        eventually(answers)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        """Stop the broker if it runs, start it, and wait until it answers."""
        self.stop()
        self.start()
        self.await_ready()


def _listed(listeners: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in listeners.items())


JAVA_OPTIONS = (
    *("-Xms128m", "-Xmx384m"),
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
)
BROKER_SETTINGS: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    # A test's group may notice a dead member sooner or later; the defaults stay.
    "group.consumer.min.session.timeout.ms": 1_000,
    "group.consumer.max.session.timeout.ms": 600_000,
    "group.consumer.min.heartbeat.interval.ms": 200,
    "log.cleaner.dedupe.buffer.size": 16 << 20,
}
BROKER_LOGGING = """\
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRefs = out
rootLogger.appenderRef.out.ref = OUT
"""

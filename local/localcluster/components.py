"""Configuration and command lines of the node's components, with paths as they are inside the node."""

import json
from collections.abc import Mapping
from pathlib import Path

from localcluster import cgroups
from localcluster.addresses import (
    API_PORT,
    API_SERVICE_IP,
    DNS_SERVICE_IP,
    NODE,
    NODE_IP,
    POD_CIDR,
    SERVICE_CIDR,
)

# The state and the programs are shown to the node here, wherever on the machine they are.
STATE = Path("/run/kafleet")
BIN = Path("/run/kafleet-bin")
ETC = STATE / "etc"
PKI = STATE / "pki"

CERTIFICATE_IPS = ("127.0.0.1", NODE_IP, API_SERVICE_IP)
PAUSE_IMAGE = "kafleet.local/pause:1"
COREDNS_IMAGE = "kafleet.local/coredns:1"

CONTAINERD = f"""\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
  # Without CAP_SYS_RESOURCE the kernel refuses a value below our own.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "{BIN}/containerd-shim-runc-v2"
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{ETC}/cni"
"""

POD_NETWORK = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isDefaultGateway": True,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "dataDir": "/run/ipam", "ranges": [[{"subnet": POD_CIDR}]]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}

KUBELET = f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false  # since 1.35 it refuses v1 otherwise
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /{cgroups.NAME}
oomScoreAdj: 0
address: {NODE_IP}
readOnlyPort: 0
healthzBindAddress: 127.0.0.1
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/volumeplugins
resolvConf: {ETC}/resolv.conf
clusterDomain: cluster.local
clusterDNS: [{DNS_SERVICE_IP}]
tlsCertFile: {PKI}/kubelet-serving.crt
tlsPrivateKeyFile: {PKI}/kubelet-serving.key
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {PKI}/ca.crt}}
authorization: {{mode: Webhook}}
evictionHard: {{memory.available: 100Mi}}
imageGCHighThresholdPercent: 100  # nothing could be pulled again
serializeImagePulls: false
"""

PROXY = f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: {NODE}
clientConnection: {{kubeconfig: {PKI}/proxy.kubeconfig}}
clusterCIDR: {POD_CIDR}
oomScoreAdj: 0
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
# All zero: these are the whole machine's settings.
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"""


def configuration() -> Mapping[Path, str]:
    """Return the content of every configuration file."""
    return {
        ETC / "containerd.toml": CONTAINERD,
        ETC / "cni" / "10-pods.conflist": json.dumps(POD_NETWORK, indent=1),
        ETC / "kubelet.yaml": KUBELET,
        ETC / "proxy.yaml": PROXY,
        ETC / "resolv.conf": "",  # pods that use the node's own resolver have none
    }


def storage() -> Mapping[str, list[str]]:
    """Return the command lines of what the rest is built on, in the order of starting."""
    return {
        "etcd": [
            f"{BIN}/etcd",
            "--data-dir=/var/lib/etcd",
            f"--name={NODE}",
            "--listen-client-urls=https://127.0.0.1:2379",
            "--advertise-client-urls=https://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380",
            f"--initial-cluster={NODE}=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # survives every kill; after a power cut: `down --purge`
            f"--cert-file={PKI}/etcd.crt",
            f"--key-file={PKI}/etcd.key",
            "--client-cert-auth",
            f"--trusted-ca-file={PKI}/etcd-ca.crt",
        ],
        "containerd": [f"{BIN}/containerd", "-c", f"{ETC}/containerd.toml"],
        "kube-apiserver": [
            f"{BIN}/kube-apiserver",
            "--bind-address=0.0.0.0",
            f"--secure-port={API_PORT}",
            f"--advertise-address={NODE_IP}",
            "--etcd-servers=https://127.0.0.1:2379",
            f"--etcd-cafile={PKI}/etcd-ca.crt",
            f"--etcd-certfile={PKI}/apiserver-etcd-client.crt",
            f"--etcd-keyfile={PKI}/apiserver-etcd-client.key",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={PKI}/ca.crt",
            f"--tls-cert-file={PKI}/apiserver.crt",
            f"--tls-private-key-file={PKI}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={PKI}/sa.pub",
            f"--service-account-signing-key-file={PKI}/sa.key",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={PKI}/apiserver-kubelet-client.key",
            f"--kubelet-certificate-authority={PKI}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={PKI}/front-proxy-client.crt",
            f"--proxy-client-key-file={PKI}/front-proxy-client.key",
        ],
    }


def clients() -> Mapping[str, list[str]]:
    """Return the command lines of what needs a ready API server."""
    serving = [
        f"--tls-cert-file={PKI}/components-serving.crt",
        f"--tls-private-key-file={PKI}/components-serving.key",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]
    return {
        "kube-controller-manager": [
            f"{BIN}/kube-controller-manager",
            *as_user("controller-manager"),
            *serving,
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={PKI}/sa.key",
            f"--root-ca-file={PKI}/ca.crt",
            f"--cluster-signing-cert-file={PKI}/ca.crt",
            f"--cluster-signing-key-file={PKI}/ca.key",
        ],
        "kube-scheduler": [f"{BIN}/kube-scheduler", *as_user("scheduler"), *serving],
        "kubelet": [
            f"{BIN}/kubelet",
            f"--config={ETC}/kubelet.yaml",
            f"--kubeconfig={PKI}/kubelet.kubeconfig",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_IP}",
        ],
        "kube-proxy": [f"{BIN}/kube-proxy", f"--config={ETC}/proxy.yaml"],
    }


def as_user(user: str) -> list[str]:
    return [
        f"--{what}kubeconfig={PKI}/{user}.kubeconfig" for what in ("", "authentication-", "authorization-")
    ]

"""The command line and configuration file of every component."""

from __future__ import annotations

import json
import pathlib
import sys

from localcluster import network, paths, pki

__all__ = ["APISERVER_ENVIRONMENT", "AUDIT_POLICY", "apiserver", "configure", "containerd", "controller_manager",
           "etcd", "kube_proxy", "kube_router", "kubelet", "kwok", "outside", "scheduler"]  # fmt: skip

PAUSE_IMAGE = "localhost/sandyard/pause:1"
# Collecting garbage is a fifth of what an API server with little in it does; up to here it may hold more of it.
APISERVER_ENVIRONMENT = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}

# Who did what to our kinds and to pods: tests count the operator's calls here.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:kube-proxy", "system:kube-scheduler"]},
        {"level": "None", "resources": [{"group": "coordination.k8s.io"}]},
        {
            "level": "Metadata",
            "resources": [
                {"group": "sandyard.dev"},
                {"group": "", "resources": ["pods", "pods/*", "events"]},
                {"group": "networking.k8s.io"},
            ],
        },
        {"level": "None"},
    ],
}


def configure(cluster: paths.Cluster, programs: dict[str, pathlib.Path]) -> None:
    """Write the configuration files that the components read."""
    conf = cluster.state / "conf"
    for folder in ("conf", "run", "logs", "kubelet", "containerd", "cni", "etcd", "manifests"):
        (cluster.state / folder).mkdir(parents=True, exist_ok=True)
    runsc = (
        f'binary_name = "{programs["gvisor"] / "runsc"}"\n'
        f'root = "{cluster.state / "run" / "runsc"}"\n'
        "[runsc_config]\n"
        'platform = "systrap"\n'
    )
    files = {
        conf / "audit.json": json.dumps(AUDIT_POLICY),
        conf / "runsc.toml": runsc,
        conf / "containerd.toml": _containerd_toml(cluster, programs, conf),
        cluster.state / "cni" / "10-bridge.conflist": json.dumps(_cni(cluster)),
        conf / "kubelet.json": json.dumps(_kubelet_config(cluster)),
        conf / "kube-proxy.json": json.dumps(_kube_proxy_config(cluster)),
    }
    for path, text in files.items():
        paths.write(path, text)
    for name in ("controller-manager", "scheduler", "kube-proxy", "kubelet"):
        pki.kubeconfig(cluster.pki, name, cluster.server, conf / f"{name}.kubeconfig")
    pki.admin_kubeconfig(cluster)


def etcd(cluster: paths.Cluster) -> list[str]:
    """Etcd on the node's loopback; a test's data may be lost with the machine, so no fsync."""
    return [
        "etcd",
        f"--data-dir={cluster.state / 'etcd'}",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver_common(folder: pathlib.Path, service_cidr: str) -> list[str]:
    """Flags that every API server of ours shares; *folder* is its PKI."""
    return [
        "kube-apiserver",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={service_cidr}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--profiling=false",
    ]


def apiserver(cluster: paths.Cluster) -> list[str]:
    """The API server, on the address that the host reaches over the veth."""
    folder = cluster.pki
    return [
        *apiserver_common(folder, network.SERVICE_CIDR),
        f"--bind-address={cluster.node_address}",
        f"--advertise-address={cluster.node_address}",
        "--secure-port=6443",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--kubelet-client-certificate={folder / 'kubelet-client.crt'}",
        f"--kubelet-client-key={folder / 'kubelet-client.key'}",
        f"--kubelet-certificate-authority={folder / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={cluster.state / 'conf' / 'audit.json'}",
        f"--audit-log-path={cluster.logs / 'audit.log'}",
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=2",
    ]


def controller_manager(cluster: paths.Cluster) -> list[str]:
    """The controller manager: garbage collection, namespaces, service accounts, disruption."""
    config = cluster.state / "conf" / "controller-manager.kubeconfig"
    return [
        "kube-controller-manager",
        f"--kubeconfig={config}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={cluster.pki / 'sa.key'}",
        f"--root-ca-file={cluster.pki / 'ca.crt'}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ]


def scheduler(cluster: paths.Cluster) -> list[str]:
    """The scheduler."""
    config = cluster.state / "conf" / "scheduler.kubeconfig"
    return ["kube-scheduler", f"--kubeconfig={config}", "--leader-elect=false", "--bind-address=127.0.0.1"]


def containerd(cluster: paths.Cluster) -> list[str]:
    """Containerd with the runtimes runc and runsc."""
    return ["containerd", f"--config={cluster.state / 'conf' / 'containerd.toml'}"]


def kubelet(cluster: paths.Cluster) -> list[str]:
    """The one real node."""
    conf = cluster.state / "conf"
    return [
        "kubelet",
        f"--config={conf / 'kubelet.json'}",
        f"--kubeconfig={conf / 'kubelet.kubeconfig'}",
        f"--hostname-override={cluster.node_name}",
        f"--node-ip={cluster.node_address}",
        f"--root-dir={cluster.state / 'kubelet'}",
        f"--cert-dir={cluster.pki}",
    ]


def kube_proxy(cluster: paths.Cluster) -> list[str]:
    """Service addresses, by nftables rules in the node's namespace."""
    return ["kube-proxy", f"--config={cluster.state / 'conf' / 'kube-proxy.json'}"]


def kube_router(cluster: paths.Cluster) -> list[str]:
    """The enforcing NetworkPolicy controller; its firewall part alone."""
    return [
        "kube-router",
        f"--kubeconfig={cluster.kubeconfig}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--hostname-override={cluster.node_name}",
        "--metrics-port=0",
        "--health-port=0",
    ]


def kwok(cluster: paths.Cluster) -> list[str]:
    """The controller that plays simulated nodes."""
    stages = pathlib.Path(__file__).with_name("kwok")
    return [
        "kwok",
        f"--kubeconfig={cluster.kubeconfig}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
        # Neither addresses nor node of a pod that runs: else a simulated pod's policies fall on a real one.
        f"--cidr={network.SIMULATED_POD_CIDR}",
        f"--node-ip={network.SIMULATED_NODE_ADDRESS}",
        "--server-address=127.0.0.1:10247",
        *(f"--config={path}" for path in sorted(stages.glob("*.yaml"))),
    ]


def volumes(cluster: paths.Cluster) -> list[str]:
    """The provisioner of the default storage class: folders on the node."""
    program = str(pathlib.Path(__file__).with_name("volumes.py"))
    return [
        sys.executable,
        program,
        cluster.server,
        str(cluster.pki),
        str(cluster.state / "volumes"),
        cluster.node_name,
    ]


def outside(cluster: paths.Cluster) -> list[str]:
    """The listener of the outside world."""
    del cluster
    addresses = [network.OUTSIDE_GATEWAY, *network.OUTSIDE_ADDRESSES]
    return [sys.executable, str(pathlib.Path(__file__).with_name("outside.py")), *addresses]


def _containerd_toml(cluster: paths.Cluster, programs: dict[str, pathlib.Path], conf: pathlib.Path) -> str:
    return f"""version = 3
root = '{cluster.state / "containerd"}'
state = '{cluster.state / "run" / "containerd"}'
disabled_plugins = ['io.containerd.internal.v1.opt', 'io.containerd.internal.v1.tracing']

[grpc]
address = '{cluster.containerd_socket}'

[ttrpc]
address = '{cluster.containerd_socket}.ttrpc'

[plugins.'io.containerd.cri.v1.runtime']
# Root without CAP_SYS_RESOURCE cannot lower an OOM score.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = 'runc'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runsc]
runtime_type = 'io.containerd.runsc.v1'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runsc.options]
TypeUrl = 'io.containerd.runsc.v1.options'
ConfigPath = '{conf / "runsc.toml"}'

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{programs["cni"]}']
conf_dir = '{cluster.state / "cni"}'

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{PAUSE_IMAGE}'
"""


def _cni(cluster: paths.Cluster) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(cluster.state / "run" / "ipam"),
            "ranges": [[{"subnet": "10.244.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "sandyard", "plugins": [bridge, portmap]}


def _kubelet_config(cluster: paths.Cluster) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": cluster.node_address,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(cluster.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(cluster.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(cluster.pki / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cluster.cgroup,
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "containerRuntimeEndpoint": f"unix://{cluster.containerd_socket}",
        "podLogsDir": str(cluster.state / "podlogs"),
        "clusterDNS": [network.DNS_ADDRESS],
        "clusterDomain": network.DNS_DOMAIN,
        "registerNode": True,
        "maxPods": 240,
        "podPidsLimit": 1024,
        "failSwapOn": False,
        "serializeImagePulls": False,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        # There is no registry to pull an image from again once it has been collected.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    }


def _kube_proxy_config(cluster: paths.Cluster) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(cluster.state / "conf" / "kube-proxy.kubeconfig")},
        "mode": "nftables",
        "clusterCIDR": network.POD_CIDR,
        "hostnameOverride": cluster.node_name,
        "bindAddress": cluster.node_address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }

"""One node: the configuration of its containerd, kubelet and kube-proxy, and starting them."""

import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesmith_cluster import cgroups, disk, images, kubeconfig, sandbox
from edgesmith_cluster.certificates import Certificates
from edgesmith_cluster.commands import run, succeeds
from edgesmith_cluster.errors import tail
from edgesmith_cluster.packages import CNI
from edgesmith_cluster.plan import API_PORT, HUB, REGISTRY_PORT, Plan
from edgesmith_cluster.sandbox import BINARIES, INSIDE, Machine, Program
from edgesmith_cluster.state import Folder
from edgesmith_cluster.waiting import START_SECONDS, wait_until

_SOCKET = "/run/containerd/containerd.sock"
_PULLS = ("pull", "resolve")


def containerd_config() -> str:
    """Return containerd's configuration (version 3 of its format).

    ``restrict_oom_score_adj``: root in a sandbox may lack CAP_SYS_RESOURCE, and then runc dies when it lowers a score.
    A pull that a cut link stopped is given up and begun again; by default that takes minutes.
    Namespaces of pods lie under /run/containerd, which is the node's own, and not under the host's /run/netns.
    """
    return f"""\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{_SOCKET}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{CNI}"]
conf_dir = "{INSIDE}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.images"]
image_pull_progress_timeout = "30s"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{images.PAUSE}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{INSIDE}/certs.d"

[plugins."io.containerd.internal.v1.opt"]
path = "{INSIDE}/opt"

[plugins."io.containerd.nri.v1.nri"]
disable = true
"""


def hosts_config(registry: str) -> str:
    """Return what lets containerd pull from a registry without TLS."""
    capabilities = ", ".join(f'"{word}"' for word in _PULLS)
    return f'server = "http://{registry}"\n\n[host."http://{registry}"]\ncapabilities = [{capabilities}]\n'


def network_config(plan: Plan, node: str) -> dict[str, Any]:
    """Return the pod network: a link per pod to the node, which routes.

    No bridge: between two pods on one, packets to a Service would come back past the node unless the host's
    br_netfilter is loaded.
    """
    ranges = [[{"subnet": str(plan.pod_network(node))}]]
    link = {
        "type": "ptp",
        "ipMasq": False,
        # Addresses given out are forgotten with /run, as after a real start.
        "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [link]}


def kubelet_config(plan: Plan, cluster: str, node: str, *, own_disk: bool = False) -> dict[str, Any]:
    """Return the kubelet's configuration.

    Version 1 of control groups is refused by default from 1.35 on. The disk may be nearly full on a workstation, so
    pods are evicted for it late; on a disk of its own, images are deleted as soon as less than a tenth of it is left,
    and that is over soon after. On the hub, containers that end are restarted without long pauses: tests kill the
    operator again and again. A node that is cut off is to be noticed after 10 s, so a kubelet says that it is there in
    two ways every 4 s: by its status and by its Lease, which it renews after a quarter of what that lasts.
    """
    credentials = f"{INSIDE}/credentials"
    differing: dict[str, Any] = {}
    if node == HUB:
        differing["crashLoopBackOff"] = {"maxContainerRestartPeriod": "2s"}
    if own_disk:
        differing |= {"evictionPressureTransitionPeriod": "5s", "imageMinimumGCAge": "1s"}
    free = "10%" if own_disk else "1%"
    return {
        **differing,
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": f"{credentials}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{credentials}/server.crt",
        "tlsPrivateKeyFile": f"{credentials}/server.key",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.path(cluster, node),
        "clusterDNS": [str(plan.dns_service)],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "evictionHard": {
            "imagefs.available": free,
            "imagefs.inodesFree": "1%",
            "memory.available": "50Mi",
            "nodefs.available": free,
            "nodefs.inodesFree": "1%",
        },
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "nodeLeaseDurationSeconds": 16,
        "nodeStatusUpdateFrequency": "4s",
        "oomScoreAdj": 0,
        "resolvConf": f"{INSIDE}/resolv.conf",
        "serializeImagePulls": False,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }


def proxy_config(node: str) -> dict[str, Any]:
    """Return kube-proxy's configuration.

    The conntrack limits are the host's and stay as they are. What does not come from a pod of this node is masqueraded
    on its way to a Service, so the host can call Services through the hub.
    """
    unchanged = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{INSIDE}/kube-proxy.kubeconfig"},
        "conntrack": unchanged,
        "detectLocal": {"interfaceNamePrefix": "veth"},
        "detectLocalMode": "InterfaceNamePrefix",
        "hostnameOverride": node,
        "mode": "nftables",
        "oomScoreAdj": 0,
    }


@dataclass(frozen=True)
class Node:
    """A node of a cluster.

    Attributes:
        folder: the cluster's paths.
        plan: its addresses.
        name: the node's name.
        tools: the folder of compiled tools.
    """

    folder: Folder
    plan: Plan
    name: str
    tools: Path

    @property
    def own(self) -> Path:
        """What the node sees as its /run, /var/lib and /var/log."""
        return self.folder.node(self.name)

    def _log(self, program: str) -> Path:
        return self.own / "log" / f"{program}.log"

    def configure(self) -> None:
        """Write what the node's programs read."""
        inside = self.own / "lib/edgesmith"
        registry = f"{self.plan.hub}:{REGISTRY_PORT}"
        files = {
            "containerd.toml": containerd_config(),
            f"certs.d/{registry}/hosts.toml": hosts_config(registry),
            "cni/pods.conflist": json.dumps(network_config(self.plan, self.name), indent=2),
            "kubelet.yaml": json.dumps(
                kubelet_config(self.plan, self.folder.name, self.name, own_disk=disk.of(self.own) is not None), indent=2
            ),
            "kube-proxy.yaml": json.dumps(proxy_config(self.name), indent=2),
            # Nothing outside the cluster is looked up: no name server.
            "resolv.conf": "",
        }
        for name, text in files.items():
            file = inside / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        certificates = Certificates(self.folder.credentials)
        authority = certificates.get("ca").file
        server = certificates.get(f"kubelet-{self.name}-server")
        for name, source in {"ca.crt": authority, "server.crt": server.file, "server.key": server.key}.items():
            kubeconfig.write(inside / "credentials" / name, source.read_text())
        for program, user in (("kubelet", f"kubelet-{self.name}"), ("kube-proxy", "kube-proxy")):
            text = kubeconfig.render(
                cluster=self.folder.name,
                server=f"https://{self.plan.hub}:{API_PORT}",
                authority=authority,
                user=user,
                certificate=certificates.get(user),
            )
            kubeconfig.write(inside / f"{program}.kubeconfig", text)

    def boot(self) -> tuple[Machine, Program]:
        """Start the machine and its containerd, without waiting for it.

        Raises:
            ClusterError: they do not start.
        """
        cgroups.create(self.folder.name, self.name)
        machine = sandbox.boot(
            self.folder.name,
            self.name,
            node=self.name,
            tools=self.tools,
            own=self.own,
            log=self._log("boot"),
            disk=disk.of(self.own),
        )
        command: list[str | Path] = [BINARIES / "containerd", "--config", INSIDE / "containerd.toml"]
        return machine, machine.start("containerd", command, log=self._log("containerd"))

    def forget(self) -> None:
        """Empty the node's /run, which does not outlive a restart."""
        shutil.rmtree(self.own / "run", ignore_errors=True)

    def load_images(self, containerd: Program) -> None:
        """Wait for containerd and give it the images that the node brings along.

        Raises:
            ClusterError: containerd ends, does not answer, or refuses an image.
        """
        ctr: list[str | Path] = [
            self.tools / "bin/ctr",
            "--address",
            self.own / _SOCKET.lstrip("/"),
            "--namespace",
            "k8s.io",
        ]
        wait_until(
            lambda: succeeds([str(word) for word in [*ctr, "--timeout", "2s", "plugins", "list"]]),
            what=f"containerd on {self.name} (its log is {containerd.log})",
            seconds=START_SECONDS,
            check=containerd.check,
            why=lambda: tail(containerd.log),
        )
        wanted = {"pause": images.PAUSE} | ({"coredns": images.COREDNS} if self.name == HUB else {})
        machine = images.go_machine(platform.machine())
        for program, image in wanted.items():
            run([*ctr, "images", "import", images.kept(self.tools / "bin", program, image, machine)])

    def join(self, machine: Machine) -> list[Program]:
        """Start the kubelet and kube-proxy.

        Raises:
            ClusterError: they do not start.
        """
        kubelet: list[str | Path] = [
            BINARIES / "kubelet",
            f"--config={INSIDE}/kubelet.yaml",
            f"--kubeconfig={INSIDE}/kubelet.kubeconfig",
            f"--hostname-override={self.name}",
            f"--node-ip={self.plan.address(self.name)}",
        ]
        proxy: list[str | Path] = [BINARIES / "kube-proxy", f"--config={INSIDE}/kube-proxy.yaml"]
        return [
            machine.start("kubelet", kubelet, log=self._log("kubelet")),
            machine.start("kube-proxy", proxy, log=self._log("kube-proxy")),
        ]

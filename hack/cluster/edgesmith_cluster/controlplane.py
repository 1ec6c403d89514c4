"""etcd, the API server, the controllers and the scheduler: the flags they get, and starting them."""

from dataclasses import dataclass
from pathlib import Path

from edgesmith_cluster import kubeconfig
from edgesmith_cluster.api import Api
from edgesmith_cluster.certificates import Certificates
from edgesmith_cluster.plan import API_PORT, Plan
from edgesmith_cluster.sandbox import Machine, Program
from edgesmith_cluster.state import Folder
from edgesmith_cluster.waiting import wait_until

NAME = "control-plane"
# By default they make 20 and 50 calls a second: a start then takes 5 s longer, a thousand pods three minutes.
_RATE = ("--kube-api-qps=500", "--kube-api-burst=1000")
_ETCD = "http://127.0.0.1:2379"  # the loopback of the hub's own network namespace


def etcd_flags(data: Path) -> list[str]:
    """Return etcd's flags; a cluster that is thrown away need not survive a power failure, so nothing is synced."""
    return [
        "--name=hub",
        f"--data-dir={data}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=hub=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver_flags(plan: Plan, certificates: Certificates) -> list[str]:
    """Return the API server's flags, as kubeadm sets them.

    It calls kubelets by address: nothing resolves their names.
    """
    serving, kubelet = certificates.get("apiserver"), certificates.get("apiserver-kubelet-client")
    front = certificates.get("front-proxy-client")
    authority = certificates.get("ca").file
    return [
        f"--advertise-address={plan.hub}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={authority}",
        "--enable-admission-plugins=NodeRestriction",
        f"--etcd-servers={_ETCD}",
        f"--kubelet-certificate-authority={authority}",
        f"--kubelet-client-certificate={kubelet.file}",
        f"--kubelet-client-key={kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
        f"--proxy-client-cert-file={front.file}",
        f"--proxy-client-key-file={front.key}",
        "--requestheader-allowed-names=front-proxy-client",
        f"--requestheader-client-ca-file={certificates.get('front-proxy-ca').file}",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--secure-port={API_PORT}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={certificates.service_account_public_key}",
        f"--service-account-signing-key-file={certificates.service_account_key}",
        f"--service-cluster-ip-range={plan.services}",
        f"--tls-cert-file={serving.file}",
        f"--tls-private-key-file={serving.key}",
    ]


def controller_flags(folder: Folder, certificates: Certificates) -> list[str]:
    """Return the controller manager's flags; a node that is cut off is noticed in 10 s instead of 50."""
    config, authority = folder.credentials / "controller-manager.kubeconfig", certificates.get("ca")
    return [
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--client-ca-file={authority.file}",
        f"--cluster-signing-cert-file={authority.file}",
        f"--cluster-signing-key-file={authority.key}",
        "--controllers=*,bootstrapsigner,tokencleaner",
        f"--flex-volume-plugin-dir={folder.control_plane / 'volume-plugins'}",
        *_RATE,
        f"--kubeconfig={config}",
        "--leader-elect=false",
        "--node-monitor-grace-period=10s",
        "--node-monitor-period=2s",
        f"--requestheader-client-ca-file={certificates.get('front-proxy-ca').file}",
        f"--root-ca-file={authority.file}",
        f"--service-account-private-key-file={certificates.service_account_key}",
        "--use-service-account-credentials=true",
    ]


def scheduler_flags(folder: Folder) -> list[str]:
    """Return the scheduler's flags."""
    config = folder.credentials / "scheduler.kubeconfig"
    return [
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        *_RATE,
        f"--kubeconfig={config}",
        "--leader-elect=false",
    ]


@dataclass(frozen=True)
class ControlPlane:
    """The control plane of one cluster, in a machine that shares the hub's network.

    Attributes:
        folder: the cluster's paths.
        plan: its addresses.
        machine: where it runs.
        binaries: the folder of links to all programs.
    """

    folder: Folder
    plan: Plan
    machine: Machine
    binaries: Path

    @property
    def _certificates(self) -> Certificates:
        return Certificates(self.folder.credentials)

    def _start(self, name: str, flags: list[str]) -> Program:
        return self.machine.start(name, [self.binaries / name, *flags], log=self.folder.logs / f"{name}.log")

    def start_api(self) -> list[Program]:
        """Start etcd and the API server, which waits for it by itself.

        Raises:
            ClusterError: they do not start.
        """
        return [
            self._start("etcd", etcd_flags(self.folder.control_plane / "etcd")),
            self._start("kube-apiserver", apiserver_flags(self.plan, self._certificates)),
        ]

    def wait(self, programs: list[Program], seconds: float = 60) -> None:
        """Wait until the API server is ready.

        Raises:
            ClusterError: it is not in time, or one of the programs ended.
        """
        api = Api.of(self.plan, self.folder.credentials)

        def check() -> None:
            for program in programs:
                program.check()

        wait_until(api.ready, what="the API server to be ready", seconds=seconds, check=check)

    def start_controllers(self) -> list[Program]:
        """Start the controller manager and the scheduler.

        Raises:
            ClusterError: they do not start.
        """
        return [
            self._start("kube-controller-manager", controller_flags(self.folder, self._certificates)),
            self._start("kube-scheduler", scheduler_flags(self.folder)),
        ]


def write_kubeconfigs(folder: Folder, plan: Plan) -> None:
    """Write the administrator's kubeconfig and those of the control plane's own programs."""
    files = {
        "admin": folder.kubeconfig,
        "controller-manager": folder.credentials / "controller-manager.kubeconfig",
        "scheduler": folder.credentials / "scheduler.kubeconfig",
    }
    certificates = Certificates(folder.credentials)
    for user, file in files.items():
        text = kubeconfig.render(
            cluster=f"edgesmith-{folder.name}",
            server=f"https://{plan.hub}:{API_PORT}",
            authority=certificates.get("ca").file,
            user=user,
            certificate=certificates.get(user),
        )
        kubeconfig.write(file, text)

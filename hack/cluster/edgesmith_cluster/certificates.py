"""The cluster's authority and what it signs, as kubeadm lays it out; made with openssl, thrown away with the cluster.

Who a certificate is: its common name is the user, its organisation the group
(https://kubernetes.io/docs/setup/best-practices/certificates/).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgesmith_cluster.commands import run
from edgesmith_cluster.plan import HUB, Plan

_DAYS = "3650"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key.

    Attributes:
        file: the certificate.
        key: the private key.
    """

    file: Path
    key: Path


@dataclass(frozen=True)
class Request:
    """A certificate to be made.

    Attributes:
        name: of its files.
        user: its common name.
        group: its organisation, may be empty.
        addresses: what it is a server's certificate for; none makes it a client's.
        authority: the name of the one that signs it.
    """

    name: str
    user: str
    group: str = ""
    addresses: tuple[str, ...] = ()
    authority: str = "ca"


def requests(plan: Plan) -> list[Request]:
    """Return every certificate that a cluster needs, its two authorities aside."""
    api = ["DNS:localhost", "IP:127.0.0.1", f"IP:{plan.hub}", f"IP:{plan.api_service}", f"DNS:{HUB}"]
    api += [f"DNS:kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
    found = [
        Request("apiserver", "kube-apiserver", addresses=tuple(api)),
        Request("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Request("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
        Request("admin", "kubernetes-admin", "system:masters"),
        Request("controller-manager", "system:kube-controller-manager"),
        Request("scheduler", "system:kube-scheduler"),
        Request("kube-proxy", "system:kube-proxy"),
    ]
    for node in plan.nodes:
        found.append(Request(f"kubelet-{node}", f"system:node:{node}", "system:nodes"))
        addresses = (f"IP:{plan.address(node)}", f"DNS:{node}")
        found.append(Request(f"kubelet-{node}-server", f"system:node:{node}", "system:nodes", addresses))
    return found


def subject(request: Request) -> str:
    """Return openssl's notation of who the certificate is."""
    return (f"/O={request.group}" if request.group else "") + f"/CN={request.user}"


@dataclass(frozen=True)
class Certificates:
    """A folder of certificates.

    Attributes:
        folder: where they are.
    """

    folder: Path

    def get(self, name: str) -> Certificate:
        """Return one by the name of its files."""
        return Certificate(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    @property
    def service_account_key(self) -> Path:
        """The private key that signs service account tokens."""
        return self.folder / "sa.key"

    @property
    def service_account_public_key(self) -> Path:
        """The public key that service account tokens are checked with."""
        return self.folder / "sa.pub"

    def make(self, plan: Plan) -> None:
        """Make all of them.

        Raises:
            ClusterError: openssl is missing or refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._authority, ("ca", "front-proxy-ca")))
            list(pool.map(self._sign, requests(plan)))
            key: list[str | Path] = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
            run([*key, "-out", self.service_account_key])
            public: list[str | Path] = ["openssl", "pkey", "-in", self.service_account_key, "-pubout"]
            run([*public, "-out", self.service_account_public_key])

    def _authority(self, name: str) -> None:
        usage = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
        self._request(name, f"/CN=edgesmith-{name}", usage, ())

    def _sign(self, request: Request) -> None:
        authority = self.get(request.authority)
        usage = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"]
        usage.append(f"extendedKeyUsage={'serverAuth' if request.addresses else 'clientAuth'}")
        if request.addresses:
            usage.append(f"subjectAltName={','.join(request.addresses)}")
        self._request(request.name, subject(request), usage, ("-CA", authority.file, "-CAkey", authority.key))

    def _request(self, name: str, who: str, usage: Sequence[str], authority: Sequence[str | Path]) -> None:
        wanted = self.get(name)
        extensions = [word for line in usage for word in ("-addext", line)]
        command = ["openssl", "req", "-x509", *_KEY, "-days", _DAYS, "-subj", who, *extensions, *authority]
        run([*command, "-keyout", wanted.key, "-out", wanted.file])

"""The tools that are compiled, each with its version. Pure but for reading our own sources."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent

KUBERNETES = "v1.36.3"
ARGO_CD = "v3.5.7"
FLUX = "v1.9.6"
PROMETHEUS = "v3.15.1"
_MAJOR, _MINOR, _ = KUBERNETES[1:].split(".")
_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Tool:
    """Something to compile: one of our own modules, or packages of a published one.

    A published module that says by `replace` what it is compiled with cannot be installed as it is. The source is then
    a module of our own that says the same and names it as its tool.

    Attributes:
        name: of its folder in the cache.
        version: of its folder too; everything that went into it.
        title: what the person at the terminal reads.
        about: how long it takes on two processors.
        programs: what it makes.
        links: other names of its only program; a program that acts by its name needs them.
        source: the folder of our own module.
        packages: the packages to install; of our own module, those to compile in its place.
        variables: what the linker writes into it, NAME=VALUE.
        tags: of the files to compile.
    """

    name: str
    version: str
    title: str
    about: str
    programs: tuple[str, ...]
    links: tuple[str, ...] = ()
    source: Path | None = None
    packages: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Its folder's name in the cache."""
        return f"{self.name}-{self.version}"

    def command(self, folder: Path) -> list[str]:
        """Return the call of Go that puts the programs into a folder (``go install`` takes it as ``GOBIN``)."""
        flags = " ".join(["-s", "-w", *(f"-X {variable}" for variable in self.variables)])
        if self.source:
            # Go names several programs itself, each after its package.
            target = folder if len(self.programs) > 1 else folder / self.programs[0]
            tags = ["-tags", ",".join(self.tags)] if self.tags else []
            return ["go", "build", "-trimpath", "-ldflags", flags, *tags, "-o", str(target), *(self.packages or ["."])]
        targets = [f"{package}@{self.version}" for package in self.packages]
        return ["go", "install", "-trimpath", "-ldflags", flags, *targets]


def digest(folder: Path) -> str:
    """Return a short digest of a module's sources, so that a changed one is compiled anew."""
    total = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in {".go", ".mod", ".sum"}:
            total.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:8]


def tools() -> list[Tool]:
    """Return what a cluster needs, the quickest first, so that a machine that cannot compile is found out at once."""
    kubernetes, pause = SOURCES / "kubernetes", SOURCES / "pause"
    return [
        Tool("pause", digest(pause), "pause", "seconds", ("pause",), links=("edgesmith-machine",), source=pause),
        Tool(
            "kubernetes",
            f"{KUBERNETES}-{digest(kubernetes)}",
            f"Kubernetes {KUBERNETES}",
            "about 7 minutes",
            ("kubernetes",),
            links=(
                "etcd",
                "kube-apiserver",
                "kube-controller-manager",
                "kube-proxy",
                "kube-scheduler",
                "kubectl",
                "kubelet",
            ),
            source=kubernetes,
            variables=(
                f"{_VERSION}.gitVersion={KUBERNETES}",
                f"{_VERSION}.gitMajor={_MAJOR}",
                f"{_VERSION}.gitMinor={_MINOR}",
            ),
        ),
        _published(
            "containerd",
            "v2.3.7",
            "about 2 minutes",
            tuple(
                f"github.com/containerd/containerd/v2/cmd/{name}"
                for name in ("containerd", "containerd-shim-runc-v2", "ctr")
            ),
        ),
        _published("registry", "v3.1.2", "about 1 minute", ("github.com/distribution/distribution/v3/cmd/registry",)),
        _published(
            "minio", "v0.0.0-20260212201848-7aac2a2c5b7c", "about 3 minutes", ("github.com/minio/minio",), "MinIO"
        ),
        _published("helm", "v4.3.1", "about 2 minutes", ("helm.sh/helm/v4/cmd/helm",), "Helm"),
        _published("coredns", "v1.15.0", "about 3 minutes", ("github.com/coredns/coredns",), "CoreDNS"),
    ]


def companions() -> list[Tool]:
    """Return what the tests need besides; no cluster waits for it."""
    argocd, flux, prometheus = SOURCES / "argocd", SOURCES / "flux", SOURCES / "prometheus"
    return [
        _published("cosign", "v3.1.3", "about 3 minutes", ("github.com/sigstore/cosign/v3/cmd/cosign",)),
        Tool(
            "argocd",
            f"{ARGO_CD}-{digest(argocd)}",
            f"Argo CD {ARGO_CD}",
            "about 7 minutes",
            ("argocd-programs",),
            links=(
                "argocd-application-controller",
                "argocd-applicationset-controller",
                "argocd-git-ask-pass",
                "argocd-repo-server",
                "argocd-server",
                "gitops-verdict",
            ),
            source=argocd,
            variables=(f"github.com/argoproj/argo-cd/v3/common.version={ARGO_CD[1:]}",),
        ),
        Tool(
            "kustomize-controller",
            f"{FLUX}-{digest(flux)}",
            f"Flux's kustomize-controller {FLUX}",
            "about 4 minutes",
            ("kustomize-controller",),
            source=flux,
            packages=("github.com/fluxcd/kustomize-controller",),
        ),
        Tool(
            "prometheus",
            f"{PROMETHEUS}-kubernetes-{digest(prometheus)}",
            f"Prometheus {PROMETHEUS}",
            "about 2 minutes",
            ("prometheus", "promtool", "monitoring-verdict"),
            source=prometheus,
            packages=(
                "github.com/prometheus/prometheus/cmd/prometheus",
                "github.com/prometheus/prometheus/cmd/promtool",
                ".",
            ),
            variables=(f"github.com/prometheus/common/version.Version={PROMETHEUS[1:]}",),
            # Without the clients of every cloud there is.
            tags=("remove_all_sd", "enable_kubernetes_sd"),
        ),
    ]


def kwok() -> Tool:
    """Return KWOK, which plays the kubelets of thousands of nodes; it is compiled where that is measured."""
    return _published("kwok", "v0.8.0", "about 2 minutes", ("sigs.k8s.io/kwok/cmd/kwok",), "KWOK")


def _published(name: str, version: str, about: str, packages: tuple[str, ...], title: str | None = None) -> Tool:
    programs = tuple(package.rpartition("/")[2] for package in packages)
    # A pseudo-version is the date and the commit; the date is what a reader can use.
    shown = version.split("-")[1][:8] if version.startswith("v0.0.0-") else version
    return Tool(name, version, f"{title or name} {shown}", about, programs, packages=packages)

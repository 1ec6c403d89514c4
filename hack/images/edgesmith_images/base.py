"""The two images that the Dockerfiles start from, made of Debian packages where no registry can be reached.

``run`` stands in for ``gcr.io/distroless/python3-debian12:nonroot``, ``build`` for ``python:3.11-slim-bookworm``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from . import contents, layers, site_packages, tars
from .console import ImageError, step
from .extract import extract
from .layout import EPOCH, Layout
from .paths import Cache

SUITE = "bookworm"

FORMAT = 1
"""Raised when the code here or in ``tars`` comes to write another base from the same packages and patterns."""

KEPT = 2
"""Layouts kept of each base and architecture, newest first."""

CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"

NONROOT = 65532
"""The user of distroless's nonroot images."""

# What distroless keeps too, and what scanners read: which packages are in here, a file for each.
STATUS_HOOK = (
    'mkdir -p "$1/var/lib/dpkg/status.d"; for deb in "$1"/var/cache/apt/archives/*.deb; do '
    'dpkg-deb --field "$deb" > "$1/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)"; done'
)

ACCOUNTS = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
        f"nonroot:x:{NONROOT}:{NONROOT}:nonroot:/home/nonroot:/sbin/nologin\n"
    ),
    "etc/group": f"root:x:0:\nnobody:x:65534:\nnonroot:x:{NONROOT}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


@dataclass(frozen=True)
class BaseRecipe:
    """A base image.

    Attributes:
        name: ``run``, ``tritonserver``, ``qnn`` or ``build``.
        packages: Debian packages; what they depend on comes along.
    """

    name: str
    packages: tuple[str, ...]


RUN = BaseRecipe(
    name="run",
    packages=(
        *("base-files", "ca-certificates", "libgcc-s1", "libpython3.11-stdlib", "libstdc++6", "netbase"),
        *("python3.11-minimal", "zlib1g"),
    ),
)
TRITONSERVER = BaseRecipe(name="tritonserver", packages=(*RUN.packages, "libexpat1", "libpython3.11"))
"""What NVIDIA's tritonserver and its Python backends need of Debian; see `hack/images/tritonserver`."""
QNN = BaseRecipe(name="qnn", packages=(*RUN.packages, "libatomic1"))
"""Qualcomm's library for context binaries asks for GCC's libatomic, which its wheel does not hold."""
BUILD = BaseRecipe(
    name="build",
    packages=("base-files", "ca-certificates", "coreutils", "dash", "libc-bin", "netbase", "python3-pip", "python3.11"),
)


@dataclass(frozen=True)
class Base:
    """A base image that is there.

    Attributes:
        folder: Its OCI layout.
        architecture: ``amd64`` or ``arm64``.
        digest: Of its manifest.
        diff_id: Of its one layer.
        reference: The name buildah is to know it by.
    """

    folder: Path
    architecture: str
    digest: str
    diff_id: str
    reference: str


def _mirror() -> list[str]:
    """Reads the Debian mirror to use, a snapshot for instance; mmdebstrap's default is Debian's own."""
    mirror = os.environ.get("EDGESMITH_DEBIAN_MIRROR")
    return [mirror] if mirror else []


def _key(recipe: BaseRecipe, architecture: str, tools: Base | None) -> str:
    """Hashes what decides a base, the archive's state apart."""
    compiler = tools.digest if tools else ""
    parts = [FORMAT, asdict(recipe), architecture, compiler, SUITE, STATUS_HOOK, ACCOUNTS, _mirror(), contents.PATTERNS]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _fetch(recipe: BaseRecipe, architecture: str, target: Path) -> None:
    """Unpacks Debian packages into a tar with mmdebstrap; nothing of the target's is run."""
    command = [
        *("mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"),
        *(f"--include={','.join(recipe.packages)}", f"--extract-hook={STATUS_HOOK}"),
        *(SUITE, str(target), *_mirror()),
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "TMPDIR": str(target.parent)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-3:])
        raise ImageError(
            f"mmdebstrap could not fetch the base for {architecture}: {last} ({shlex.join(command[:4])} …)"
        )


def _certificates(root: Path) -> None:
    """Writes the bundle that the package's own script would, if scripts ran."""
    folder = root / "usr/share/ca-certificates/mozilla"
    target = root / CERTIFICATES
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(path.read_bytes() for path in sorted(folder.glob("*.crt"))))


def _compile(root: Path, tools: Path, architecture: str) -> None:
    """Compiles the standard library for good: a read-only root would compile it again at every start.

    Debian's own Python does it, whatever this process runs on: another release writes other bytecode. It is started by
    its own loader, which takes neither root nor a container.
    """
    machine = site_packages.MACHINES[architecture]
    libraries = ":".join(f"{tools}/{folder}/{machine}-linux-gnu" for folder in ("lib", "usr/lib"))
    command = [
        *(str(next((tools / f"lib/{machine}-linux-gnu").glob("ld-linux-*"))), "--library-path", libraries),
        *(str(tools / "usr/bin/python3.11"), "-S", "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash"),
        # Links out of the tree would be followed to this machine's files.
        *("-s", str(root), "-p", "/", "-x", "(sitecustomize|_sysconfigdata__linux_[^/]*)[.]py$"),
        str(root / "usr/lib/python3.11"),
    ]
    environment = {"PYTHONHOME": str(tools / "usr"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ImageError(f"Debian's Python did not compile its standard library: {(done.stdout + done.stderr)[-500:]}")


def _arrange(root: Path) -> None:
    """Turns unpacked packages into a root that a program can start in."""
    for name, text in ACCOUNTS.items():
        (root / name).write_text(text)
    (root / "home" / "nonroot").mkdir(parents=True)
    shutil.rmtree(root / "usr/share/ca-certificates")


def _write(recipe: BaseRecipe, architecture: str, cache: Cache, scratch: Path, tools: Base | None) -> Path:
    """Makes a base's layout in the scratch folder."""
    fetched, root, tar = scratch / "fetched.tar", scratch / "root", scratch / "root.tar"
    _fetch(recipe, architecture, fetched)
    root.mkdir()
    tars.unpack_into(fetched, root, contents.wanted if tools else contents.wanted_to_build)
    fetched.unlink()
    _certificates(root)
    if tools:
        _arrange(root)
        extract(Layout(tools.folder), f"linux/{tools.architecture}", scratch / "tools")
        _compile(root, scratch / "tools", tools.architecture)
    diff_id = tars.pack(root, tar, {"home/nonroot": NONROOT})
    layout = Layout.create(scratch / "layout")
    words = f"mmdebstrap {SUITE}: {' '.join(recipe.packages)}"
    config = {
        "architecture": architecture,
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "history": [{"created": EPOCH, "created_by": words}],
    }
    layout.finish(layout.add_image(config, [layers.keep(cache.layers, tar, diff_id)]), "latest")
    return layout.folder


def ensure(
    recipe: BaseRecipe, architecture: str, cache: Cache, *, refresh: bool = False, tools: Base | None = None
) -> Base:
    """Finds a base in the cache or makes it.

    Args:
        recipe: Which one.
        architecture: ``amd64`` or ``arm64``.
        cache: Where it is kept; the caller holds its lock.
        refresh: Whether to ask Debian again, for its security updates.
        tools: The base whose Python compiles the standard library; this makes the new one a base to run on.

    Returns:
        The base.

    Raises:
        ImageError: Debian's archive cannot be reached or lacks a package.
    """
    folder = cache.bases / f"{recipe.name}-{architecture}-{_key(recipe, architecture, tools)}"
    if refresh or not (folder / "index.json").exists():
        with (
            step(f"unpacking Debian {SUITE} as the {recipe.name} base for {architecture}"),
            tempfile.TemporaryDirectory(dir=cache.scratch) as scratch,
        ):
            made = _write(recipe, architecture, cache, Path(scratch), tools)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
            _forget_old(cache, f"{recipe.name}-{architecture}-")
    os.utime(folder)
    layout = Layout(folder)
    digest = layout.root()["digest"]
    manifest = layout.read(digest)
    return Base(
        folder=folder,
        architecture=architecture,
        digest=digest,
        diff_id=layout.read(manifest["config"]["digest"])["rootfs"]["diff_ids"][0],
        reference=f"localhost/edgesmith-base:{recipe.name}-{architecture}-{digest.removeprefix('sha256:')[:16]}",
    )


def _forget_old(cache: Cache, prefix: str) -> None:
    newest = sorted(cache.bases.glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in newest[KEPT:]:
        shutil.rmtree(old)

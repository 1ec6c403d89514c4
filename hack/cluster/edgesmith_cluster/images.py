"""The two images a cluster brings along, each one program and nothing else, as archives that ``ctr`` imports."""

import hashlib
import io
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAUSE = "localhost/pause:1"
COREDNS = "localhost/coredns:1"
_USER = 65532


@dataclass(frozen=True)
class Blob:
    """A piece of an image.

    Attributes:
        content: its bytes.
    """

    content: bytes

    @property
    def digest(self) -> str:
        """The hexadecimal SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    def descriptor(self, media_type: str) -> dict[str, Any]:
        """Return how another piece points at this one (OCI image specification, descriptor)."""
        return {"mediaType": media_type, "digest": f"sha256:{self.digest}", "size": len(self.content)}


def _canonical(content: Any) -> Blob:
    return Blob(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _layer(program: Path) -> Blob:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, program.name, program.read_bytes(), 0o755)
    return Blob(buffer.getvalue())


def archive(program: Path, name: str, machine: str) -> bytes:
    """Return an image as an OCI layout in a tar; the same program gives the same bytes.

    Args:
        program: the one file in it, static, and its entrypoint.
        name: the image's name and tag.
        machine: the architecture, in Go's words.
    """
    layer = _layer(program)
    config = _canonical(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"], "User": f"{_USER}:{_USER}", "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}"]},
        }
    )
    manifest = _canonical(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
        }
    )
    entry = {
        **manifest.descriptor("application/vnd.oci.image.manifest.v1+json"),
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]},
    }
    index = _canonical(
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as layout:
        _add(layout, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(layout, "index.json", index.content)
        for blob in (layer, config, manifest):
            _add(layout, f"blobs/sha256/{blob.digest}", blob.content)
    return buffer.getvalue()


def kept(binaries: Path, program: str, name: str, machine: str) -> Path:
    """Return the archive of a program's image, kept beside the program, made when it is not there."""
    compiled = (binaries / program).resolve()
    file = compiled.with_name(f"{program}.tar")
    if not file.exists():
        # Every node of a first start makes it at the same time.
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as fresh:
            fresh.write(archive(compiled, name, machine))
        Path(fresh.name).rename(file)
    return file


def go_machine(machine: str) -> str:
    """Return Go's word for what ``uname -m`` says."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)

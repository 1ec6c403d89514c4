"""What an archive has besides images: the chart as Helm takes it from a registry, and manifests as one YAML file."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from edgesmith.api import go_yaml
from edgesmith.archive.opened import DOCUMENT, Archive
from edgesmith.archive.roots import ArchiveError
from edgesmith_builder.oci import BytesBlob
from edgesmith_builder.oci.content import MANIFEST, canonical
from edgesmith_builder.oci.referrers import EMPTY

CHART_PATH = "charts"
"""The repository of charts below its registry; the chart's name is added."""
MANIFESTS_PATH = "edgesmith/manifests"
MANIFESTS = "application/vnd.edgesmith.manifests.v1+yaml"
_HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
_HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


class Artifact(NamedTuple):
    """A manifest and the blobs that it names."""

    manifest: bytes
    blobs: tuple[BytesBlob, ...]


class Chart(NamedTuple):
    """A Helm chart for a registry."""

    name: str
    version: str
    artifact: Artifact

    @property
    def tag(self) -> str:
        """The version as a tag, which cannot have `+`; as Helm writes it and reads it back."""
        return self.version.replace("+", "_")


def chart_of(folder: Path) -> Chart:
    """Pack a chart's folder; the same bytes each time for the same files.

    Format: Helm's "Use OCI-based registries", as `helm push` makes it.

    Raises:
        ArchiveError: It is no chart.
        OSError: It cannot be read.
    """
    try:
        text = (folder / "Chart.yaml").read_text(encoding="utf-8")
        facts = yaml.load(text, Loader=go_yaml.Loader)  # noqa: S506 - a SafeLoader
        name, version = str(facts["name"]), str(facts["version"])
    except (FileNotFoundError, NotADirectoryError, yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
        raise ArchiveError(f"{folder} is no chart; a folder with a Chart.yaml was expected") from None
    packed = io.BytesIO()
    # A time and a level of its own would make other bytes of the same files.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0, filename="") as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            content = file.read_bytes()
            info = tarfile.TarInfo(f"{name}/{file.relative_to(folder).as_posix()}")
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    config = BytesBlob(canonical(json.loads(json.dumps(facts, default=str))), _HELM_CONFIG)
    return Chart(name, version, _artifact(config, BytesBlob(packed.getvalue(), _HELM_CHART)))


def manifests_of(objects: list[dict[str, Any]]) -> Artifact:
    """Objects as one YAML file, in the order given."""
    text = yaml.dump_all(objects, Dumper=go_yaml.Dumper, sort_keys=True, allow_unicode=True, width=120)
    return _artifact(EMPTY, BytesBlob(text.encode(), MANIFESTS), kind=MANIFESTS)


def manifests_in(archive: Archive) -> str | None:
    """The YAML file of an archive that was checked; None where it has none.

    Raises:
        ArchiveError: It is something else, or too large.
    """
    for root in archive.roots:
        if root.role == "manifests":
            blobs = archive.documents[root.descriptor.digest].blobs
            if not blobs:
                raise ArchiveError(
                    f"{root.descriptor.digest} is an index; a manifest with one {MANIFESTS} was expected"
                )
            content = blobs[-1]
            if content.media_type != MANIFESTS or content.size > DOCUMENT:
                raise ArchiveError(
                    f"{content.digest} is {content.media_type!r:.80} of {content.size} bytes; {MANIFESTS}"
                    f" of at most {DOCUMENT} was expected"
                )
            return b"".join(archive.blobs[content.digest].pieces()).decode(errors="replace")
    return None


def _artifact(config: BytesBlob, content: BytesBlob, kind: str | None = None) -> Artifact:
    data: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor.to_json(),
        "layers": [content.descriptor.to_json()],
        **({"artifactType": kind} if kind else {}),
    }
    return Artifact(canonical(data), (config, content))

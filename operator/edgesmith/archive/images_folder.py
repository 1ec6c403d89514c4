"""Makes of an archive a file for K3s' images folder, from which its containerd takes images at every start.

K3s imports every tar of `/var/lib/rancher/k3s/agent/images` with containerd's importer, which calls an image what the
annotation `io.containerd.image.name` says. Pods name images by digest, so these names have digests too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgesmith.archive.opened import Archive, Document, Progress
from edgesmith.archive.roots import LAYOUT, ArchiveError, Root, index_of, placed
from edgesmith.archive.tar import END, blob_name, entry, header, padding
from edgesmith.archive.whole import whole

IMAGE_NAME = "io.containerd.image.name"
RUN = ("operator", "model")
"""What pods run; a runtime image is a part of its models' images."""


def write_images(archive: Archive, target: str, folder: Path, progress: Progress = lambda _what, _size: None) -> Path:
    """Write the images that pods run into a folder, as one file that is there whole or not at all.

    Args:
        archive: What to take them from. Every byte is held against its digest on the way.
        target: `HOST[:PORT]` or `HOST[:PORT]/PREFIX` that pods name them by.
        folder: K3s' images folder.
        progress: Told of each blob.

    Returns:
        The file. An archive with the same images is the same file.

    Raises:
        ArchiveError: A blob has another digest, or the target is none.
        OSError: The file cannot be written.
    """
    roots = [root for root in archive.roots if root.role in RUN]
    index = index_of(_named(root, target) for root in roots)
    documents = {one.descriptor.digest: one for root in roots for one in archive.tree(root.descriptor.digest)}
    blobs = sorted({blob.digest for document in documents.values() for blob in document.blobs})
    path = folder / f"edgesmith-{hashlib.sha256(index).hexdigest()[:12]}.tar"
    with whole(path) as file:
        for name, content in (("oci-layout", LAYOUT), ("index.json", index), *_raw(documents)):
            file.write(entry(name, content))
        for digest in blobs:
            blob, found = archive.blobs[digest], hashlib.sha256()
            file.write(header(blob_name(digest), blob.descriptor.size))
            for piece in blob.pieces():
                found.update(piece)
                file.write(piece)
            if f"sha256:{found.hexdigest()}" != digest:
                raise ArchiveError(f"{blob_name(digest)} has the digest sha256:{found.hexdigest()}")
            file.write(padding(blob.descriptor.size))
            progress("written", blob.descriptor.size)
        file.write(END)
    return path


def _named(root: Root, target: str) -> dict[str, object]:
    return {
        **root.descriptor.to_json(),
        "annotations": {IMAGE_NAME: str(placed(target, root.path).pinned(root.descriptor.digest))},
    }


def _raw(documents: dict[str, Document]) -> list[tuple[str, bytes]]:
    return [(blob_name(digest), documents[digest].raw) for digest in sorted(documents)]

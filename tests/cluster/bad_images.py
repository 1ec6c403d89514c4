"""Images that are not what their builds say of them, under the keys of builds that nobody has made yet."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from edgesmith_builder.contract import KEY_ANNOTATION
from edgesmith_builder.oci import FileBlob, Manifest, Reference, Registry
from edgesmith_builder.oci.content import digest_of
from edgesmith_builder.pack.image import Base, assemble
from edgesmith_builder.pack.layer import MODEL_LAYER, write_layer
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import kubeconfig_environment
from edgesmith_stage.shell import run

Files = dict[str, bytes]
MODEL, BUNDLE = "model.onnx", "bundle.json"


@dataclass(frozen=True)
class Bad:
    """What is wrong with an image, and what its canary must say.

    Attributes:
        name: In the test's name.
        change: Changes the files of the image's bundle.
        says: A part of what the rollback says.
        spoilt: Whether the registry sends other bytes than those of the digest.
    """

    name: str
    change: Callable[[Files], None]
    says: str
    spoilt: bool = False


def _wrong_answers(files: Files) -> None:
    """Another model, which the bundle knows by its digest: on the device it answers what it did not in the build."""
    model = onnx.load(surface.FOLDER / MODEL)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    files[MODEL] = model.SerializeToString()
    bundle = json.loads(files[BUNDLE])
    bundle["digests"][MODEL] = digest_of(files[MODEL])
    files[BUNDLE] = json.dumps(bundle).encode()


def _other_bytes(files: Files) -> None:
    """One bit of the model."""
    middle = len(files[MODEL]) // 2
    files[MODEL] = files[MODEL][:middle] + bytes([files[MODEL][middle] ^ 1]) + files[MODEL][middle + 1 :]


def _as_built(files: Files) -> None:
    """The same bundle in other bytes, so that no node has the layer already."""
    files[BUNDLE] += b"\n"


BAD = (
    Bad("golden-samples", _wrong_answers, "GoldenMismatch"),
    Bad("digest-in-the-bundle", _other_bytes, "BundleCorrupt"),
    Bad("digest-of-a-layer", _as_built, "could not pull the image", spoilt=True),
)


def key_of(fleet: Fleet, name: str, source: dict[str, Any], folder: Path) -> str:
    """The key of the build that an EdgeModel with another source would ask for, as `edgesmith plan` says it."""
    spec = fleet.model(name)["spec"] | {"source": source}
    document = {"apiVersion": "edgesmith.dev/v1alpha1", "kind": "EdgeModel", "spec": spec}
    file = folder / "edgemodel.yaml"
    file.write_text(json.dumps(document | {"metadata": {"name": name, "namespace": fleet.namespace}}))
    words = ["-m", "edgesmith.cli", "plan", "-f", str(file), "-o", "json"]
    (planned,) = json.loads(run([sys.executable, *words], env=kubeconfig_environment(fleet.ground)))
    (build,) = planned["builds"]
    return str(build["key"])


def push(image: str, key: str, change: Callable[[Files], None], folder: Path) -> str:
    """Push an image with a changed bundle under a build's key; the digest of the layer that differs.

    Args:
        image: The image of another build, by digest, in a registry without TLS.
        key: The build's key.
        change: Changes the files of the upper one of the bundle's two layers.
        folder: Where to write them.
    """
    return asyncio.run(_push(image, key, change, folder))


async def _push(image: str, key: str, change: Callable[[Files], None], folder: Path) -> str:
    reference = Reference.parse(image)
    repository = reference.repository
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(reference)
        assert manifest
        config = json.loads(await client.read_blob(repository, manifest.config))
        files = _unpacked(await client.read_blob(repository, manifest.layers[-1]))
        change(files)
        layer = write_layer(MODEL_LAYER, _written(files, folder), folder / "layer.tar")
        made, described = assemble(_below(reference, manifest, config), [layer], {}, {})
        made = replace(made, annotations={**manifest.annotations, KEY_ANNOTATION: key})
        for blob in (FileBlob(layer.file, layer.descriptor), described):
            await client.push_blob(repository, blob)
        await client.push_manifest(repository.tagged(key), made.to_bytes())
        return layer.descriptor.digest


def _below(reference: Reference, manifest: Manifest, config: dict[str, Any]) -> Base:
    """An image without its uppermost layer."""
    config["rootfs"]["diff_ids"].pop()
    config["history"].pop()
    return Base(reference, replace(manifest, layers=manifest.layers[:-1]), config)


def _unpacked(layer: bytes) -> Files:
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        opened = {Path(one.name).name: archive.extractfile(one) for one in archive if one.isfile()}
        return {name: file.read() for name, file in opened.items() if file}


def _written(files: Files, folder: Path) -> list[Path]:
    (folder / "bundle").mkdir()
    for name, content in files.items():
        (folder / "bundle" / name).write_bytes(content)
    return sorted((folder / "bundle").iterdir())

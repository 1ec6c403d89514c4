"""Contents of many kinds of files as Magika's model takes them: the first and the last 1,024 bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import subprocess
import sys
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wheels import wheels

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE, BLOCK, NOTHING = 1024, 4096, 256
"""Bytes of each end, how many are looked at for them, and what stands where none are: config.min.json of Magika."""

_SUFFIXES = (".md", ".yaml", ".toml", ".proto", ".onnx", ".npz", ".skops", ".png", ".mod", ".sum", ".txt", ".sh", ".go")
_OF_EACH = 3
_FOLDERS = ("charts", "docs", "examples", "hack", "requirements", "runtime")

# The package's own pipeline, in a process of its own: it is no part of this environment.
_SCRIPT = """
import json, sys
from pathlib import Path
from magika import Magika

magika = Magika()
found = [magika.identify_bytes(Path(name).read_bytes()) for name in json.load(sys.stdin)]
labels = [str(one) for one in magika._model_config.target_labels_space]
json.dump({"labels": labels, "said": [[str(one.dl.label), one.score] for one in found]}, sys.stdout)
"""


def files(folder: Path) -> list[Path]:
    """Real files: of Python's library, of this repository, and some that are written here.

    Args:
        folder: Where to write them.
    """
    library = sorted(Path(json.__file__).parents[1].glob("*.py"))[:16]
    found = [path for path in library if path.stat().st_size > 2 * SIZE]
    for suffix in _SUFFIXES:
        ours = (path for name in _FOLDERS for path in sorted((REPOSITORY / name).rglob(f"*{suffix}")))
        found += itertools.islice(ours, _OF_EACH)
    return [*found, *_written(folder)]


def taken(path: Path) -> NDArray[np.int32]:
    """A file as the model takes it, shape (2 * SIZE,)."""
    content = path.read_bytes()
    first, last = content[:BLOCK].lstrip()[:SIZE], content[-BLOCK:].rstrip()[-SIZE:]
    return np.array([*first, *[NOTHING] * (2 * SIZE - len(first) - len(last)), *last], np.int32)


def said(paths: list[Path]) -> tuple[list[str], list[tuple[str, float]]]:
    """What the package says: all that its model can answer, and for each file its kind and how sure it is."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(wheels()), "ORT_DISABLE_TELEMETRY": "1"},
    )
    answer = json.loads(done.stdout)
    return answer["labels"], [(label, float(score)) for label, score in answer["said"]]


def _written(folder: Path) -> list[Path]:
    text = b"".join(path.read_bytes() for path in sorted(REPOSITORY.glob("*.md")))
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    sound, zipped, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with wave.open(sound, "wb") as written:
        written.setparams((1, 2, 16_000, 0, "NONE", ""))
        written.writeframes((3000 * np.sin(np.arange(16_000) / 9)).astype("<i2").tobytes())
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("README", text)
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(REPOSITORY / "LICENSE", "LICENSE")
    contents = {
        "text.gz": gzip.compress(text, mtime=0),
        "text.bz2": bz2.compress(text),
        "text.zip": zipped.getvalue(),
        "licence.tar": archive.getvalue(),
        "sound.wav": sound.getvalue(),
        "numbers.json": json.dumps([{"place": number, "half": number / 2} for number in range(200)]).encode(),
        "numbers.csv": b"place,half\n" + b"".join(b"%d,%.1f\n" % (number, number / 2) for number in range(300)),
    }
    for name in ("bmp", "gif", "jpeg", "tiff", "webp"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, name)
        contents[f"picture.{name}"] = buffer.getvalue()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]

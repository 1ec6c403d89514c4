"""What is left of Pillow in an image decodes what servers take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
from pictures import saved, scene
from PIL import Image

from edgesmith_images import site_packages

DECODE = """
import sys
import PIL
assert PIL.__file__.startswith(sys.argv[1]), PIL.__file__
from edgesmith_runtime.picture.decode import decode
for name in sys.argv[2:]:
    for gray in (False, True):
        with decode(memoryview(open(name, "rb").read()), gray=gray) as found:
            for number in (0, 2, 3, 4):
                assert found.image.resize((7, 5), number, (0.5, 0, 20, 10)).size == (7, 5)
print(*sorted(name for name in sys.modules if name.startswith("PIL.")))
"""


def test_jpeg_and_png_are_decoded_by_what_is_left(tmp_path: Path) -> None:
    own = Path(PIL.__file__).parent
    site = tmp_path / "site"
    for folder in (own, own.parent / "pillow.libs"):
        shutil.copytree(folder, site / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    before = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    site_packages.prune(site, "runtime")
    left = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert left < before / 2

    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(scene(40, 30))
    clear = image.convert("RGBA")
    clear.putalpha(100)
    files = {
        "plain.jpg": saved(image, "JPEG"),
        "turned.jpg": saved(image, "JPEG", exif=exif, progressive=True),
        "print.jpg": saved(image.convert("CMYK"), "JPEG"),
        "plain.png": saved(image, "PNG", exif=exif),
        "clear.png": saved(clear, "PNG"),
        "palette.png": saved(image.quantize(16), "PNG", transparency=3),
        "deep.png": saved(Image.fromarray((np.arange(1200).reshape(30, 40) * 50).astype(np.uint16)), "PNG"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    runtime = Path(__file__).resolve().parents[2] / "runtime"
    done = subprocess.run(
        [sys.executable, "-c", DECODE, str(site), *(str(tmp_path / name) for name in files)],
        env=os.environ | {"PYTHONPATH": f"{site}:{runtime}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "PIL.JpegImagePlugin" in done.stdout
    assert "PIL.GifImagePlugin" not in done.stdout, "no decoder of another format is loaded"

"""Installs, prunes and compiles what an image imports; runs inside the first stage of the project's Dockerfiles.

It stands alone (the Dockerfiles copy this one file) and never runs anything of the target's architecture.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Docker's name of an architecture to the one in wheel tags."""

GLIBC = 36
"""Debian 12 has glibc 2.36, and distroless/debian12 with it; a wheel for any older one runs there (PEP 600)."""

OLDEST_GLIBC = 5
"""PEP 513's manylinux1, the oldest tag there is, means glibc 2.5."""

LEGACY = {"x86_64": ("manylinux2014", "manylinux2010", "manylinux1"), "aarch64": ("manylinux2014",)}
"""Tags older than PEP 600 that are still in use, by machine."""

# Patterns are matched against paths relative to the folder, files and folders alike; * crosses slashes.
EVERYWHERE = (
    "bin",
    "*/tests",
    "*/__pycache__",
    "*.pyi",
    "*.pyx",
    "*.pxd",
    "*.pxi",
    "*.h",
    "*.hpp",
    "*.c",
    "*.cc",
    "*.cpp",
    "*.a",
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/WHEEL",
    "*.dist-info/top_level.txt",
    "*.dist-info/sboms",
    "numpy/_core/*_tests.*.so",
    "numpy/_core/_simd.*.so",  # numpy's own tests import it and nothing else does
    "numpy/_pyinstaller",
    "numpy/conftest.py",
    "numpy/distutils",
    # The Python module links the engine statically; the shared library serves C programs and other providers.
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/datasets",
    # It reports to its maker that OpenVINO was imported; without it, nothing does.
    "openvino_telemetry*",
    "openvino/cmake",
    "openvino/include",
    "openvino/libs/libopenvino_c.so*",
    "openvino/tools",
    "openvino/torch",
    # Of Intel's graphics and NPU: without their drivers, which no image of ours has, they are of no use.
    "openvino/libs/libopenvino_intel_gpu_plugin.so",
    "openvino/libs/libopenvino_intel_npu_plugin.so",
    "openvino/libs/cache.json",  # how the graphics' kernels are tuned
    # Readers of formats that no source of ours has.
    *(f"openvino/frontend/{name}" for name in ("jax", "paddle", "pytorch", "tensorflow")),
    *(f"openvino/libs/libopenvino_{name}_frontend.so*" for name in ("gguf", "jax", "paddle", "pytorch", "tensorflow")),
    # Compilers for other accelerators, and an interface that the interpreter does not use.
    "ai_edge_litert/aot",
    "ai_edge_litert/libLiteRt*.so",
    "ai_edge_litert/tools",
    "ai_edge_litert/vendors",
    # Backends of QNN for other processors and for inspection, and a second copy of the one for the Hexagon.
    *(f"onnxruntime_qnn/lib{name}.so" for name in ("Genie", "QnnGpu", "QnnIr", "QnnSaver", "QnnHtpNetRunExtensions")),
    "onnxruntime_qnn/libHtpPrepare.so",
    # What its wheel asks for and does not import.
    *(f"{name}*" for name in ("coloredlogs", "humanfriendly", "mpmath", "sympy", "isympy.py")),
    # Of Pillow, all but what decodes and resizes JPEG and PNG; what its one library is linked with stays.
    *(f"PIL/_{name}.*.so" for name in ("avif", "imagingcms", "imagingft", "imagingmath", "imagingmorph", "imagingtk")),
    "PIL/_webp.*.so",
    *(f"pillow.libs/lib{name}-*" for name in ("avif", "brotlicommon", "brotlidec", "freetype", "harfbuzz", "lcms2")),
    *(f"pillow.libs/lib{name}-*" for name in ("png16", "sharpyuv", "webp", "webpdemux", "webpmux")),
    "PIL/[!JPT]*ImagePlugin.py",
    *(f"PIL/{name}ImagePlugin.py" for name in ("Jpeg2K", "Palm", "Pcd", "Pcx", "Pdf", "Pixar", "Ppm", "Psd", "Tga")),
    *(f"PIL/Image{name}.py" for name in ("Cms", "Draw", "Draw2", "Font", "Grab", "Qt", "Show", "Tk", "Win")),
    *(f"PIL/{name}.py" for name in ("BdfFontFile", "FontFile", "PSDraw", "PcfFontFile", "PdfParser", "features")),
    # What LiteRT's wheel holds or asks for and its interpreter does not import.
    "ai_edge_litert/*_pb2.py",
    "ai_edge_litert/schema_py_generated.py",
    *(f"{name}*" for name in ("backports", "tqdm")),
)
"""What no program of ours imports."""

BY_PROGRAM = {
    "runtime": (
        "numpy/f2py",
        "numpy/random",  # lazily imported, and serving draws no numbers
        "numpy/testing",
        "onnxruntime/backend",
        "onnxruntime/quantization",
        "onnxruntime/tools",
        "onnxruntime/transformers",
        # A bundle holds OpenVINO's own format; these are read by the build.
        "openvino/frontend/onnx",
        *(f"openvino/libs/libopenvino_{name}_frontend.so*" for name in ("onnx", "tensorflow_lite")),
        "ml_dtypes*",  # as those below; onnx imports it
    ),
    "builder": (
        *(f"sklearn/datasets/{name}" for name in ("data", "descr", "images")),
        "sklearn/_build_utils",
        "onnx/backend/test",
        "onnxruntime/transformers/models",
    ),
    "operator": (),
    "triton": ("numpy/f2py", "numpy/random", "numpy/testing"),
    "tritonserver": (),
}
"""What one program does not import though another does."""


def platform_tags(machine: str) -> list[str]:
    """Lists the wheel platform tags that a Debian 12 of that machine accepts, best first.

    Args:
        machine: ``x86_64`` or ``aarch64``.

    Returns:
        Tags such as ``manylinux_2_28_x86_64`` (PEP 600), then the older spellings.
    """
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, OLDEST_GLIBC - 1, -1)]
    return tags + [f"{name}_{machine}" for name in LEGACY[machine]]


def install(folder: Path, requirements: Path, machine: str, cache: Path | None) -> None:
    """Installs locked wheels for another machine with pip, which checks each one's hash.

    Args:
        folder: Where the packages go.
        requirements: A lock with a hash on every line.
        machine: ``x86_64`` or ``aarch64``; the Python is the one that runs this.
        cache: pip's download cache, kept between builds; none when absent.

    Raises:
        subprocess.CalledProcessError: pip failed; its own words are on stderr.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [
        *(sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--no-compile", "--no-input", "--disable-pip-version-check", "--root-user-action=ignore", "--quiet"),
        *(f"--python-version={python}", "--implementation=cp", f"--target={folder}", f"--requirement={requirements}"),
        *(f"--platform={tag}" for tag in platform_tags(machine)),
        *((f"--cache-dir={cache}",) if cache else ("--no-cache-dir",)),
    ]
    # A build argument that was not given arrives as an empty string, which pip would take for a value.
    environment = {name: value for name, value in os.environ.items() if value or not name.startswith("PIP_")}
    subprocess.run(command, check=True, env=environment)


def unneeded(path: str, program: str) -> bool:
    """Says whether a program's image goes without a path.

    Args:
        path: Relative to the packages' folder, with forward slashes.
        program: One of `BY_PROGRAM`.

    Returns:
        True for what is to be removed; a licence file only ever goes with the whole folder that it is for.
    """
    name = path.rsplit("/", 1)[-1].upper()
    if ".dist-info/licenses" in path or name.startswith(("LICEN", "COPYING", "NOTICE", "THIRDPARTY")):
        return False
    return any(fnmatchcase(path, pattern) for pattern in (*EVERYWHERE, *BY_PROGRAM[program]))


def prune(folder: Path, program: str) -> None:
    """Removes what a program's image does not need.

    Args:
        folder: The packages' folder.
        program: One of `BY_PROGRAM`.
    """
    for path in sorted(folder.rglob("*")):
        if not os.path.lexists(path):  # went with its folder
            continue
        if unneeded(path.relative_to(folder).as_posix(), program):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def compile_folder(folder: Path) -> None:
    """Compiles every module below a folder, so that a read-only root does not compile them at each start.

    The bytecode is bound to its source by hash and never checked: file times say nothing in a reproducible image.

    Args:
        folder: Where it will also lie in the image, so that tracebacks name the right file.

    Raises:
        SystemExit: A module does not compile.
    """
    done = compileall.compile_dir(
        folder, maxlevels=100, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    if not done:
        sys.exit(f"{folder} holds a module that Python {sys.version.split()[0]} does not compile; it is named above.")


def main(arguments: list[str] | None = None) -> None:
    """Runs one verb.

    Args:
        arguments: The command line without the program's name; the process's own when absent.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("install", help="install the locked wheels, prune and compile them")
    one.add_argument("--requirements", type=Path, required=True)
    one.add_argument("--arch", choices=sorted(MACHINES), required=True)
    one.add_argument("--program", choices=sorted(BY_PROGRAM), required=True)
    one.add_argument("--cache", type=Path)
    one.add_argument("folder", type=Path)
    two = verbs.add_parser("compile", help="compile a folder's modules")
    two.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    if options.verb == "install":
        install(options.folder, options.requirements, MACHINES[options.arch], options.cache)
        prune(options.folder, options.program)
    compile_folder(options.folder)


if __name__ == "__main__":
    main()

"""What goes into an image's packages and its base, and what does not."""

import ast
import importlib.util
import struct
from pathlib import Path

import pytest

from edgesmith_images import contents, site_packages

ROOT = Path(__file__).resolve().parents[2]


def test_platform_tags_run_from_the_newest_glibc_to_the_oldest_spelling() -> None:
    tags = site_packages.platform_tags("x86_64")
    assert tags[0] == "manylinux_2_36_x86_64"
    assert (
        tags.index("manylinux_2_28_x86_64") < tags.index("manylinux_2_17_x86_64") < tags.index("manylinux2014_x86_64")
    )
    assert "manylinux2010_aarch64" not in site_packages.platform_tags("aarch64")


@pytest.mark.parametrize(
    ("path", "program", "gone"),
    [
        ("numpy/_core/tests", "runtime", True),
        ("numpy/__init__.pyi", "operator", True),
        ("numpy/random", "runtime", True),
        ("numpy/random", "builder", False),
        ("onnxruntime/quantization", "runtime", True),
        ("onnxruntime/quantization", "builder", False),
        ("onnxruntime/capi/libonnxruntime.so.1.32.0", "runtime", True),
        ("onnxruntime/capi/libonnxruntime_providers_shared.so", "runtime", False),
        ("onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so", "runtime", False),
        ("onnxruntime/ThirdPartyNotices.txt", "runtime", False),
        ("openvino_telemetry", "runtime", True),
        ("openvino_telemetry-2025.2.0.dist-info", "builder", True),
        ("openvino/tools", "builder", True),
        ("openvino/libs/libopenvino_onnx_frontend.so.2641", "runtime", True),
        ("openvino/libs/libopenvino_onnx_frontend.so.2641", "builder", False),
        ("openvino/libs/libopenvino_pytorch_frontend.so.2641", "builder", True),
        ("openvino/libs/libopenvino_tensorflow_frontend.so.2641", "builder", True),
        ("openvino/libs/libopenvino_tensorflow_lite_frontend.so.2641", "builder", False),
        ("openvino/libs/libopenvino_tensorflow_lite_frontend.so.2641", "runtime", True),
        ("openvino/libs/libopenvino_ir_frontend.so.2641", "runtime", False),
        ("openvino/libs/libopenvino_intel_gpu_plugin.so", "runtime", True),
        ("openvino/libs/libopenvino_intel_npu_plugin.so", "builder", True),
        ("openvino/libs/libopenvino_intel_cpu_plugin.so", "runtime", False),
        ("openvino/frontend/frontend.py", "runtime", False),
        ("ai_edge_litert/libLiteRtWebGpuAccelerator.so", "builder", True),
        ("ai_edge_litert/schema_py_generated.py", "runtime", True),
        ("ai_edge_litert/schema_py_generated.py", "builder", True),
        ("ai_edge_litert/libpywrap_litert_common.so", "runtime", False),
        ("ai_edge_litert/interpreter.py", "runtime", False),
        ("tqdm", "builder", True),
        ("PIL/_imaging.cpython-311-x86_64-linux-gnu.so", "runtime", False),
        ("PIL/_imagingft.cpython-311-aarch64-linux-gnu.so", "runtime", True),
        ("PIL/JpegImagePlugin.py", "runtime", False),
        ("PIL/PngImagePlugin.py", "builder", False),
        ("PIL/TiffImagePlugin.py", "runtime", False),
        ("PIL/GifImagePlugin.py", "runtime", True),
        ("PIL/PpmImagePlugin.py", "runtime", True),
        ("PIL/Image.py", "runtime", False),
        ("PIL/ImageDraw.py", "runtime", True),
        ("pillow.libs/libjpeg-6dc8d115.so.62.4.0", "runtime", False),
        ("pillow.libs/libwebp-51b0b3f7.so.7.2.0", "builder", True),
        ("pillow-13.0.0.dist-info/licenses/LICENSE", "runtime", False),
        ("onnxruntime_qnn/libQnnHtp.so", "runtime", False),
        ("onnxruntime_qnn/libQnnHtpPrepare.so", "runtime", False),
        ("onnxruntime_qnn/libQnnHtpV68Skel.so", "runtime", False),
        ("onnxruntime_qnn/libQnnSystem.so", "builder", False),
        ("onnxruntime_qnn/Qualcomm_LICENSE.pdf", "builder", False),
        ("onnxruntime_qnn/libGenie.so", "builder", True),
        ("onnxruntime_qnn/libHtpPrepare.so", "builder", True),
        ("sympy", "builder", True),
        ("onnxruntime/transformers/float16.py", "builder", False),
        ("onnxruntime/transformers/models", "builder", True),
        ("onnxruntime/transformers", "runtime", True),
        ("ml_dtypes", "runtime", True),
        ("ml_dtypes", "builder", False),
        ("numpy-2.4.6.dist-info/RECORD", "runtime", True),
        ("numpy-2.4.6.dist-info/METADATA", "runtime", False),
        ("numpy-2.4.6.dist-info/licenses/numpy/_core/src/x.c", "runtime", False),
        ("protobuf-6.33.6.dist-info/LICENSE", "runtime", False),
        ("grpc/_cython/_credentials/roots.pem", "runtime", False),
        ("kopf/__init__.py", "operator", False),
    ],
)
def test_a_program_goes_without_what_it_does_not_import_but_never_without_a_licence(
    path: str, program: str, *, gone: bool
) -> None:
    assert site_packages.unneeded(path, program) is gone


def test_pruning_removes_folders_and_files_and_leaves_licences(tmp_path: Path) -> None:
    for name in ("numpy/f2py/src/a.c", "numpy/LICENSE.c", "numpy/core.py", "numpy/random/x.so", "bin/f2py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    site_packages.prune(tmp_path, "runtime")
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["numpy/LICENSE.c", "numpy/core.py"]


def test_bytecode_is_bound_by_hash_and_never_checked(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("ANSWER = 42\n")
    site_packages.compile_folder(tmp_path)
    header = Path(importlib.util.cache_from_source(str(source))).read_bytes()[:8]
    # PEP 552: bit 0 says hash-based, bit 1 that the source is to be checked.
    assert struct.unpack("<I", header[4:])[0] == 0b01


def test_a_module_that_does_not_compile_stops_the_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "module.py").write_text("def\n")
    with pytest.raises(SystemExit, match="does not compile"):
        site_packages.compile_folder(tmp_path)
    assert "module.py" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("usr/bin/python3.11", True),
        ("usr/bin/dpkg", False),
        ("bin/tar", False),
        ("lib64/ld-linux-x86-64.so.2", True),
        ("lib/ld-linux-aarch64.so.1", True),
        ("lib/aarch64-linux-gnu/libc.so.6", True),
        ("lib/x86_64-linux-gnu/libtinfo.so.6.4", False),
        ("lib/x86_64-linux-gnu/libnss_dns.so.2", True),
        ("usr/lib/x86_64-linux-gnu/libdb-5.3.so", False),
        ("usr/lib/x86_64-linux-gnu/libssl.so.3", True),
        ("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", False),
        ("usr/lib/python3.11/asyncio/base_events.py", True),
        ("usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", True),
        ("usr/lib/python3.11/lib-dynload/_sqlite3.cpython-311-x86_64-linux-gnu.so", False),
        ("usr/lib/python3.11/test/support/__init__.py", False),
        ("usr/share/doc/libssl3/copyright", True),
        ("usr/share/doc/libssl3/changelog.gz", False),
        ("usr/share/doc/libpython3.11-minimal/README.Debian", False),
        ("usr/share/doc/libstdc++6", True),
        ("usr/share/common-licenses/GPL-3", True),
        ("var/lib/dpkg/status.d/libc6", True),
        ("var/lib/apt/extended_states", False),
        ("etc/apt/sources.list", False),
    ],
)
def test_the_base_holds_python_its_libraries_and_licences(path: str, *, kept: bool) -> None:
    assert contents.wanted(path) is kept


@pytest.mark.parametrize("program", ["runtime", "builder", "operator"])
def test_no_program_asks_numpy_for_a_part_that_its_image_lacks(program: str) -> None:
    """They are imported when they are first asked for, which importing every module does not show."""
    missing = {
        left_out.partition("/")[2]
        for left_out in (*site_packages.EVERYWHERE, *site_packages.BY_PROGRAM[program])
        if left_out.startswith("numpy/") and left_out.count("/") == 1
    }
    asked = {
        f"{file.relative_to(ROOT)}:{node.lineno}: numpy.{node.attr}"
        for file in sorted((ROOT / program).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"np", "numpy"}
        if node.attr in missing
    }
    assert asked == set()

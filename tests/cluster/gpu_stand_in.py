"""A node that has TensorRT's library and no GPU: Triton is told that the processor is one, and leaves engines there.

Everything around is real: the self-test reads the version off the node's own files and keeps engines in the node's own
folder, and NVIDIA's tritonserver answers. What stands for TensorRT is a file that lies where an engine would.
"""

from __future__ import annotations

import os

from edgesmith_cluster.state import Folder
from edgesmith_stage.shell import ROOT

_FOLDER = "edgesmith-test-gpu"
_SERVER = 65532
"""The user of serving pods."""
_PARTS = {
    "engines": ("/var/cache/edgesmith", False),
    "tensorrt": ("/usr/local/tensorrt/lib", True),
    "program": ("/opt/tritonserver/bin", True),
}
VOLUMES = [
    {"name": name, "hostPath": f"/var/lib/{_FOLDER}/{name}", "mountPath": place, "readOnly": read_only}
    for name, (place, read_only) in _PARTS.items()
]
"""What a DeviceProfile mounts: the folder for engines, the library's, and one with the program below."""

_PROGRAM = """#!/usr/bin/python3
import pathlib, re, runpy, sys

repository = next(word.partition("=")[2] for word in sys.argv if word.startswith("--model-repository="))
for config in pathlib.Path(repository).glob("*/config.pbtxt"):
    text = config.read_text()
    config.write_text(text.replace("KIND_GPU", "KIND_CPU"))
    cache = re.search(r'key: "trt_engine_cache_path"\\s+value: "([^"]+)"', text)
    (pathlib.Path(cache[1]) / "model.engine").write_bytes(b"compiled")
runpy.run_path("/opt/tritonserver/bin/start.py", run_name="__main__")
"""


class StandIn:
    """One node's files.

    Attributes:
        node: The node.
    """

    def __init__(self, cluster: str, node: str, version: str) -> None:
        self.node = node
        self._own = Folder(cluster).node(node) / "lib" / _FOLDER
        for name in _PARTS:
            (self._own / name).mkdir(parents=True)
        os.chown(self._own / "engines", _SERVER, _SERVER)
        start = (ROOT / "hack/images/tritonserver/start.py").read_text()
        for name, text in (("tritonserver", _PROGRAM), ("start.py", start)):
            file = self._own / "program" / name
            file.write_text(text)
            file.chmod(0o755)
        self.update(version)

    def update(self, version: str) -> None:
        """Give the node another version, as an update of JetPack does."""
        folder = self._own / "tensorrt"
        for file in folder.iterdir():
            file.unlink()
        (folder / f"libnvinfer.so.{version}").touch()

"""The container that compiles beside a builder, where the compiler is its vendor's: an image of the user's own.

It and the builder share one folder and nothing else: it gets no credentials and no request. It is a sidecar (an init
container that keeps running), so that it is there before the builder, and ends with it. What the two say to each other
in the folder is in `edgesmith_builder.toolchain.compiler`.
"""

from __future__ import annotations

from typing import Any

from edgesmith.decide.settings import Settings
from edgesmith.resources.common import container_security
from edgesmith_builder.limits import WORK

NAME = "compiler"
FOLDER = "/compile"

VOLUME: dict[str, Any] = {"name": NAME, "emptyDir": {"sizeLimit": f"{-(-WORK // 2**30)}Gi"}}
MOUNT = {"name": NAME, "mountPath": FOLDER}

EDGE_TPU = """\
cd "$1" || exit 1
trap 'exit 0' TERM
answer() { echo "$1" > status.new; mv status.new status; }
if [ -d begun ] && [ ! -f status ]; then
  echo 'its container ended while it ran; more memory may be needed (builder.resources of the chart)' > log
  answer 137
fi
rm -rf begun
while :; do
  if [ -f ask ]; then
    rm -rf out
    mkdir begun out
    mv ask begun/ask
    edgetpu_compiler --min_runtime_version "$(cat begun/ask)" --out_dir out source.tflite > log 2>&1 & wait $!
    code=$?
    mv out/source_edgetpu.tflite compiled.tflite 2>> log
    answer $code
    rm -r begun
  else
    sleep 1 & wait $!
  fi
done
"""
"""For `edgetpu_compiler`, whose options are at coral.ai/docs/edgetpu/compiler. A shell that is the first process of its
container ends on SIGTERM only where it says so, and hears of it only while it waits."""


def compiler_container(image: str, settings: Settings) -> dict[str, Any]:
    """The sidecar.

    Args:
        image: The image with the compiler and a shell, by digest.
        settings: The installation's.
    """
    return {
        "name": NAME,
        "image": image,
        "restartPolicy": "Always",
        "command": ["/bin/sh", "-c", EDGE_TPU, NAME, FOLDER],
        "env": [{"name": "TMPDIR", "value": FOLDER}],
        "resources": settings.builder_resources,
        "securityContext": container_security(),
        "volumeMounts": [MOUNT],
    }

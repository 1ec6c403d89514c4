"""Generate the runtime's gRPC messages from their ``.proto`` file.

    python hack/generate_protocol.py            # writes them beside the .proto
    python hack/generate_protocol.py FOLDER     # writes them elsewhere, to compare

Run it after changing ``runtime/edgesmith_runtime/protocol/inference.proto`` and commit what it writes; a test compares
the committed files with what this writes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped] # it ships no types

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = REPOSITORY / "runtime"
PROTO = SOURCES / "edgesmith_runtime" / "protocol" / "inference.proto"


def generate(target: Path) -> int:
    """Write ``inference_pb2.py`` and ``inference_pb2.pyi`` under a folder.

    Args:
        target: The folder that stands for ``runtime/``; the package's folders are made in it.

    Returns:
        The compiler's exit status.
    """
    target.mkdir(parents=True, exist_ok=True)
    arguments = ["", f"-I{SOURCES}", f"--python_out={target}", f"--pyi_out={target}"]
    status = int(protoc.main([*arguments, str(PROTO)]))
    # The compiler's stubs leave `Mapping` bare, which strict type checking refuses.
    for file in sorted((target / PROTO.relative_to(SOURCES).parent).glob("*_pb2.pyi")):
        file.write_text('# mypy: disable-error-code="type-arg"\n' + file.read_text())
    return status


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=SOURCES, help="where to write (default: runtime/)")
    return generate(parser.parse_args().folder)


if __name__ == "__main__":
    sys.exit(main())

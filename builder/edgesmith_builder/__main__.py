"""`python3 -m edgesmith_builder`."""

import os
import sys

# Before anything imports ONNX Runtime, whose wheels report usage to their maker unless this is set.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from edgesmith_builder.cli import main

if __name__ == "__main__":
    sys.exit(main())

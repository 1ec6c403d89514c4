"""`python3 -m edgesmith_builder`."""

import os
import sys

# Before anything imports ONNX Runtime, whose wheels report usage to their maker unless this is set.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Before anything imports numpy, whose matrices are small here: threads of its own wait in a loop for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if __name__ == "__main__":
    if sys.argv[1:2] == ["samples"]:
        # Before anything else is imported: it builds nothing.
        from edgesmith_builder.samples import main as samples

        sys.exit(samples(sys.argv[2:]))

    if sys.argv[1:] == ["notify"]:
        # Without what builds need, which is most of the memory.
        from edgesmith_builder.notify import main as notify

        sys.exit(notify())
    from edgesmith_builder.arguments import parse

    parse(sys.argv[1:])  # help and wrong usage end here, before what builds need is imported
    from edgesmith_builder.cli import main

    sys.exit(main())

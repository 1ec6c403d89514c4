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

    if sys.argv[1:2] == ["notify"]:
        # Without what builds need, which is most of the memory.
        from edgesmith_builder.notify import main as notify

        sys.exit(notify(sys.argv[2:]))
    from edgesmith_builder.arguments import parse

    # Help and wrong usage end here, before what builds need is imported.
    options = parse(sys.argv[1:])
    from edgesmith_builder.apart import run_apart

    def main() -> int:
        """Build, or look at files."""
        from edgesmith_builder.cli import main as build  # noqa: PLC0415 - what waits needs none of it

        return build()

    sys.exit(run_apart(main, options.termination_log, options.candidate_seconds))

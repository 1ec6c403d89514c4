"""``python3 -m edgesmith_runtime``."""

import os
import sys

from edgesmith_runtime.uncaught import run

# Before anything imports numpy: threads of its own for small matrices wait in a loop for each other, and take what
# requests need.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _main() -> int:
    """Run a command, with no more imported than it needs: some wait beside a server, on small devices."""
    if sys.argv[1:] == ["wait"]:
        from edgesmith_runtime.waiting import wait  # noqa: PLC0415 - see above

        return wait()
    if sys.argv[1:2] == ["uplink"]:
        from edgesmith_runtime.uplink.arguments import main as uplink  # noqa: PLC0415 - see above

        return uplink(sys.argv[2:])
    if sys.argv[1:2] == ["report"]:
        from edgesmith_runtime.reporting import main as report  # noqa: PLC0415 - see above

        return report(sys.argv[2:])
    if sys.argv[1:2] == ["room"]:
        from edgesmith_runtime.room import main as room  # noqa: PLC0415 - see above

        return room(sys.argv[2:])
    from edgesmith_runtime.cli import main  # noqa: PLC0415 - see above

    return main()


if __name__ == "__main__":
    sys.exit(run(_main))

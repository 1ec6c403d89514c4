"""``python3 -m edgesmith_runtime``."""

import sys

from edgesmith_runtime.waiting import wait

if __name__ == "__main__":
    if sys.argv[1:] == ["wait"]:
        # Before anything else is imported: it waits beside a server, on small devices.
        sys.exit(wait())
    if sys.argv[1:2] == ["uplink"]:
        from edgesmith_runtime.uplink.arguments import main as uplink

        sys.exit(uplink(sys.argv[2:]))
    if sys.argv[1:2] == ["report"]:
        from edgesmith_runtime.reporting import main as report

        sys.exit(report(sys.argv[2:]))
    from edgesmith_runtime.cli import main

    sys.exit(main())

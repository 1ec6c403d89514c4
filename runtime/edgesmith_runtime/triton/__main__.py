"""``python3 -m edgesmith_runtime.triton``."""

import sys

from edgesmith_runtime.waiting import wait

if __name__ == "__main__":
    if sys.argv[1:] == ["wait"]:
        # Before anything else is imported: it waits beside a server, on small devices.
        sys.exit(wait())
    from edgesmith_runtime.triton.cli import main

    sys.exit(main())

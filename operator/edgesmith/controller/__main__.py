"""`python3 -m edgesmith.controller`: the operator."""

from __future__ import annotations

import sys

from edgesmith.cluster.lean import leave_out

if __name__ == "__main__":
    leave_out()
    from edgesmith.controller.start import main

    sys.exit(main())

"""``python3 -m edgesmith_runtime``."""

import sys

from edgesmith_runtime.triton.cli import main

if __name__ == "__main__":
    sys.exit(main())

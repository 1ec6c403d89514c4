"""`python3 -m edgesmith_builder`."""

import sys

from edgesmith_builder.cli import main

if __name__ == "__main__":
    sys.exit(main())

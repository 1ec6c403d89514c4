"""`python3 -m edgesmith.cli`."""

import sys

from edgesmith.cli import main

sys.exit(main())

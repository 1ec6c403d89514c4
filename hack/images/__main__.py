"""Builds, measures, unpacks and pushes the project's images: ``python3 hack/images --help``."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older one is who this sentence is for
    sys.exit(f"hack/images: this is Python {sys.version.split()[0]}, expected 3.11 or later.")

from edgesmith_images.cli import main

if __name__ == "__main__":
    sys.exit(main())

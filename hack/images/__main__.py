"""Builds, measures, unpacks and pushes the project's images: ``python3 hack/images --help``.

Any Python 3.11 may start it: what it needs lies in the project's environment, which is made where it is not there yet.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("httpx", "edgesmith_builder")

if sys.version_info < (3, 11):  # noqa: UP036 - an older one is who this sentence is for
    sys.exit(f"hack/images: this is Python {sys.version.split()[0]}, expected 3.11 or later.")


def go_on_in_the_environment() -> None:
    """Makes the project's environment and replaces this process by the same program in it."""
    # What make says goes to stderr: stdout belongs to results.
    made = subprocess.run(["make", "--silent", ".venv/.ready"], cwd=ROOT, check=False, stdout=sys.stderr)
    environment = ROOT / ".venv"
    if made.returncode or Path(sys.prefix).resolve() == environment.resolve():
        sys.exit("hack/images: the project's environment could not be made; `make .venv/.ready` says why.")
    python = str(environment / "bin/python")
    os.execv(python, [python, *sys.orig_argv[1:]])  # noqa: S606 - the same program in another Python


if __name__ == "__main__":
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        go_on_in_the_environment()
    from edgesmith_images.cli import main

    sys.exit(main())

"""The Debian packages these scripts call upon: checked, and installed where we may."""

from __future__ import annotations

import os
import subprocess

from .console import ImageError, step

BUILD = ("buildah", "mmdebstrap", "debian-archive-keyring")
"""What building an image takes."""


def missing(packages: tuple[str, ...]) -> list[str]:
    """Finds the packages that are not installed.

    Args:
        packages: Debian package names.

    Returns:
        Those of them that dpkg does not have installed, in order.
    """
    absent = []
    for package in packages:
        query = ("dpkg-query", "--show", "--showformat=${db:Status-Status}", package)
        try:
            result = subprocess.run(query, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise ImageError("dpkg-query was not found: building images takes a Debian machine, or Docker.") from error
        if result.stdout != "installed":
            absent.append(package)
    return absent


def ensure(packages: tuple[str, ...]) -> None:
    """Installs what is missing, or says what to type.

    Args:
        packages: Debian package names.

    Raises:
        ImageError: Something is missing and this process may not install it, or apt failed.
    """
    absent = missing(packages)
    if not absent:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *absent]
    if os.geteuid() != 0:
        raise ImageError(f"Missing Debian packages: run `sudo {' '.join(command)}`.")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    # Several parts of a first run may install at once: wait for dpkg's lock instead of failing.
    wait = ("-o", "DPkg::Lock::Timeout=600", "-qq")
    with step(f"installing {', '.join(absent)} with apt-get"):
        # Its failure is not ours: a source that matters and is down shows in the installation.
        subprocess.run(["apt-get", *wait, "update"], env=environment, check=False, capture_output=True)
        done = subprocess.run(
            [command[0], *wait, *command[1:]], env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise ImageError(f"`{' '.join(command)}` failed: {''.join(last)}")

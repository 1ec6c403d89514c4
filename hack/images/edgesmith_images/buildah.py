"""Runs buildah with a store, a configuration and a log of its own: the machine's containers are left alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .console import ImageError

STORE_LIMIT = 6 << 30
"""Bytes of intermediate layers after which the store is started anew; a build without it takes a minute more."""

TRIM_PERIOD_S = 86400.0
"""How often the store is measured: it holds tens of thousands of files."""

AUTHORITIES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name the bundle a machine trusts where TLS is re-signed on the way."""

BUNDLE_INSIDE = "/etc/ssl/certs/ca-certificates.crt"

PIP_SETTINGS = ("PIP_INDEX_URL",)


def authority_arguments(environment: dict[str, str]) -> list[str]:
    """Hands the host's certificates and package index to the stage that runs pip, and to no other.

    Args:
        environment: The process's.

    Returns:
        Arguments of ``buildah build``; none on a machine that sets nothing.
    """
    arguments = [f"--build-arg={name}={environment[name]}" for name in PIP_SETTINGS if environment.get(name)]
    bundle = next((environment[name] for name in AUTHORITIES if environment.get(name)), None)
    if bundle is not None and Path(bundle).is_file():
        arguments += [f"--volume={Path(bundle).resolve()}:{BUNDLE_INSIDE}:ro", f"--build-arg=PIP_CERT={BUNDLE_INSIDE}"]
    return arguments


@dataclass(frozen=True)
class Buildah:
    """A private buildah.

    Attributes:
        folder: Holds the store and the configuration.
        driver: ``overlay`` where the kernel and the file system carry it, else ``vfs``.
    """

    folder: Path
    driver: str

    @classmethod
    def open(cls, folder: Path) -> Buildah:
        """Sets a store up, finds the driver that works here, and removes what builds that were killed left in it.

        Nobody else builds in the store meanwhile: whoever calls this holds the lock of the cache.

        Args:
            folder: Created when absent.

        Returns:
            The tool.

        Raises:
            ImageError: Neither driver works; says what buildah said.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "registries.conf").write_text("unqualified-search-registries = []\n")
        (folder / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        (folder / "tmp").mkdir(exist_ok=True)
        failure = ""
        for driver in ("overlay", "vfs"):
            tool = cls(folder, driver)
            (folder / f"{driver}.conf").write_text(f'[storage]\ndriver = "{driver}"\n')
            done = tool._start("info")
            if done.returncode == 0:
                tool._start("rm", "--all")  # their containers, which stay mounted
                return tool
            failure = done.stderr.strip()
        raise ImageError(f"buildah cannot keep images below {folder}: {failure}")

    def _start(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self.folder / f"{self.driver}.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
            "TMPDIR": str(self.folder / "tmp"),
        }
        store = self.folder / self.driver
        options = (f"--root={store / 'root'}", f"--runroot={store / 'run'}", f"--storage-driver={self.driver}")
        command = ("buildah", *options, *arguments)
        return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)

    def _must(self, log: Path, *arguments: str, folder: Path | None = None) -> str:
        done = self._start(*arguments, folder=folder)
        with log.open("a") as file:
            file.write(f"$ buildah {' '.join(arguments)}\n{done.stdout}{done.stderr}\n")
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
            raise ImageError(f"buildah {arguments[0]} failed; its whole output is in {log}, which ends:\n{last}")
        return done.stdout

    def load(self, layout: Path, reference: str, log: Path) -> None:
        """Makes an image of one platform known under a name, once.

        Args:
            layout: An OCI layout with one image.
            reference: Name and tag.
            log: Where the output goes.

        Raises:
            ImageError: buildah refused it.
        """
        if self._start("inspect", "--type=image", reference).returncode == 0:
            return
        policy = f"--signature-policy={self.folder / 'policy.json'}"
        # buildah makes a name of the path it is given, and refuses folders such as .cache in it: go there first.
        said = self._must(log, "pull", "--quiet", policy, f"oci:{layout.name}:latest", folder=layout.parent)
        self._must(log, "tag", said.strip().splitlines()[-1], reference)

    def build(self, context: Path, dockerfile: str, *, arguments: dict[str, str], target: Path, log: Path) -> str:
        """Builds a Dockerfile and writes the image as an OCI layout with uncompressed layers.

        Args:
            context: The build context.
            dockerfile: Relative to the context.
            arguments: Build arguments, ``TARGETARCH`` among them.
            target: The layout to write.
            log: Where the output goes.

        Returns:
            The name that buildah knows the image by.

        Raises:
            ImageError: The build failed; the message ends with buildah's last lines.
        """
        tag = f"localhost/{target.name}:{arguments['TARGETARCH']}"
        policy = f"--signature-policy={self.folder / 'policy.json'}"
        # Not --platform: buildah 1.28 would then take the first stage for the target's too, in spite of
        # FROM --platform=$BUILDPLATFORM. The final image is of its base's architecture either way.
        self._must(
            log,
            *("bud", "--isolation=chroot", "--network=host", "--layers", "--pull-never", "--format=oci", policy),
            *(f"--file={context / dockerfile}", f"--tag={tag}"),
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *authority_arguments(dict(os.environ)),
            str(context),
        )
        self._must(log, "push", "--quiet", "--disable-compression", policy, tag, f"oci:{target}:latest")
        return tag

    @classmethod
    def trim(cls, folder: Path) -> None:
        """Starts a store anew when intermediate layers have filled it.

        Args:
            folder: Holds the store, or nothing yet.
        """
        mark = folder / "trimmed"
        if not folder.exists() or (mark.exists() and time.time() - mark.stat().st_mtime < TRIM_PERIOD_S):
            return
        used = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
        if used > STORE_LIMIT:
            cls.open(folder)._start("rmi", "--all", "--force")  # noqa: SLF001 - its own
            shutil.rmtree(folder / "tmp", ignore_errors=True)
        mark.touch()

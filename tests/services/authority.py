"""A private certificate authority, made for a test, and what it signs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesmith_cluster.certificates import Certificates, Request


@dataclass(frozen=True)
class Authority:
    """Nobody trusts it who is not told to."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        """Make one in a folder; takes openssl a tenth of a second."""
        folder.mkdir(parents=True, exist_ok=True)
        Certificates(folder)._authority("ca")
        return cls(folder)

    @property
    def file(self) -> Path:
        """Its certificate, in PEM."""
        return self.folder / "ca.crt"

    @property
    def pem(self) -> str:
        """The same, read; with words around it, as bundles have them."""
        return "# Werk 7, Prüfraum\n" + self.file.read_text(encoding="utf-8")

    def sign(self, name: str, *addresses: str) -> tuple[Path, Path]:
        """A server's certificate for addresses, `IP:127.0.0.1` by default, and its key."""
        certificates = Certificates(self.folder)
        certificates._sign(Request(name, name, addresses=addresses or ("IP:127.0.0.1",)))
        made = certificates.get(name)
        return made.file, made.key

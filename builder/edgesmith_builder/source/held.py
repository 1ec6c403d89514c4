"""What a source's credentials hold: a folder with a file each, as a mounted Secret has, or variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgesmith_builder.errors import RequestInvalid


def held(name: str, folder: Path | None, environment: Mapping[str, str]) -> str:
    """One value without blanks around it: the file of that name, or else the variable; empty where there is neither.

    Raises:
        RequestInvalid: where the file is no text; without any of its content.
    """
    if folder is not None:
        try:
            return (folder / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            raise RequestInvalid(
                f"the credentials' file {name} cannot be read ({type(error).__name__}); text was expected"
            ) from None
    return environment.get(name, "").strip()

"""What a bundle tells its engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesmith_runtime.engine.interface import EngineError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["check_options"]


def check_options(engine: str, options: Mapping[str, str], known: Collection[str] = ()) -> None:
    """Check that an engine knows what it is told: a bundle for a newer one must not run as something else.

    Args:
        engine: The engine's name.
        options: What it is told.
        known: The options that it knows.

    Raises:
        EngineError: There is an option that it does not know.
    """
    for name, value in options.items():
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "no options"
            raise EngineError(f"option {name!r} is {value!r}, which engine {engine} does not know; expected {expected}")

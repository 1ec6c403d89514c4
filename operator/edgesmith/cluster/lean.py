"""Leaves out parts of libraries that we never use.

At a site the operator shares a small machine with the models, and whoever types a command waits for every import.

`kubernetes/__init__.py` imports the synchronous client and, for its logins, requests and oauthlib; we use
`kubernetes.aio` alone. `httpx/__init__.py` imports its own command line where rich is installed. Together they are a
seventh of the operator's memory.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType


def leave_out() -> None:
    """Do so; before anything imports one of the two."""
    spec = importlib.util.find_spec("kubernetes")
    if spec is not None and "kubernetes" not in sys.modules:
        package = ModuleType("kubernetes")
        package.__path__ = spec.submodule_search_locations or []
        package.__spec__ = spec
        sys.modules["kubernetes"] = package
    # None is Python's own way to say that a module cannot be imported; httpx then goes without it.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # typeshed knows modules only

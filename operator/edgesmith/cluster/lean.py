"""Leaves out parts of libraries that we never use.

At a site the operator shares a small machine with the models, and whoever types a command waits for every import.

`kubernetes/__init__.py` imports the synchronous client and, for its logins, requests and oauthlib; we use
`kubernetes.aio` alone. `kubernetes/aio/__init__.py` imports a dynamic client, and with it urllib3. `httpx/__init__.py`
imports its own command line where rich is installed. Together they are a seventh of the operator's memory.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

_PACKAGES = ("kubernetes", "kubernetes.aio")
"""Of which single modules are imported; an outer one before what is in it."""


def leave_out() -> None:
    """Do so; before anything imports one of them."""
    for name in _PACKAGES:
        if name not in sys.modules and (spec := importlib.util.find_spec(name)) is not None:
            package = ModuleType(name)
            package.__path__ = spec.submodule_search_locations or []
            package.__spec__ = spec
            sys.modules[name] = package
    # None is Python's own way to say that a module cannot be imported; httpx then goes without it.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # typeshed knows modules only

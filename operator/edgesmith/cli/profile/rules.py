"""The rules across fields that the CRD of DeviceProfiles says in CEL, for where there is no API server to judge.

Each is found by its message, so a rule without its equivalent here is an error and not a check that is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from edgesmith.api.deviceprofile import PRECISIONS
from edgesmith.api.names import NODE_LABEL_SUFFIX
from edgesmith.api.units import MOST_BYTES, parse_bytes

Rule = Callable[[Any], bool]


def holds(message: str, value: Any) -> bool:
    """Whether a value keeps the rule with this message. The value is of the type that its schema says.

    Raises:
        KeyError: There is no such rule here.
    """
    return RULES[message](value)


def _name_is_short(whole: Any) -> bool:
    return len(str(whole["metadata"].get("name", ""))) <= 63  # noqa: PLR2004 - the length of a label


def _none_is_impossible(toolchain: Any) -> bool:
    return not set(toolchain.get("precisions", ())) & set(toolchain.get("impossible", ()))


def _at_least_one(size: Any) -> bool:
    try:
        return parse_bytes(size) >= 1
    except ValueError:  # too large, which another rule says
        return True


def _at_most_the_most(size: Any) -> bool:
    try:
        return parse_bytes(size) <= MOST_BYTES
    except ValueError:
        return False


RULES: Mapping[str, Rule] = {
    "metadata.name must have 63 characters at most: it is a label of what is built for it": _name_is_short,
    "precisions must have none that impossible has": _none_is_impossible,
    f"must have no other keys than {', '.join(PRECISIONS)}": lambda keys: set(keys) <= set(PRECISIONS),
    "must be 1 or more": _at_least_one,
    "must be 1048576Ti (1 EiB) or less": _at_most_the_most,
    "must not be /model or /tmp, which are the server's own": lambda path: not re.search(r"^/(model|tmp)(/|$)", path),
    "no volume may have the name scratch: it is taken": lambda all_: all(one.get("name") != "scratch" for one in all_),
    f"must have no label of NAMESPACE.{NODE_LABEL_SUFFIX}/NAME: the operator sets and removes those": lambda labels: (
        not any(f".{NODE_LABEL_SUFFIX}/" in key for key in labels)
    ),
}
"""What a value must keep, by the message of its rule in the CRD."""

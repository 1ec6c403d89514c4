"""YAML as kubectl, Argo CD and Flux read it, for files of users and for what they are to apply.

Their reader takes other texts for numbers and truth values than PyYAML does: `y`, `1e-3` and `0128` are none to PyYAML,
`22:00` is one to PyYAML alone. Format: `resolve.go` of go.yaml.in/yaml/v2, which sigs.k8s.io/yaml makes JSON of.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import yaml

_PREFIX = "tag:yaml.org,2002:"
_TEXT, _NULL, _TRUTH, _WHOLE, _NUMBER, _TIME = (
    f"{_PREFIX}{name}" for name in ("str", "null", "bool", "int", "float", "timestamp")
)
_MERGE = "<<"


class Scalar(NamedTuple):
    """What a text without quotes is read as."""

    tag: str
    value: str | int | float | None


_WORDS = {
    word: Scalar(tag, value)
    for tag, value, words in (
        (_NULL, None, ("", "~", "null", "Null", "NULL")),
        (_TRUTH, True, ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")),
        (_TRUTH, False, ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")),
        (_NUMBER, math.nan, (".nan", ".NaN", ".NAN")),
        (_NUMBER, math.inf, (".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF")),
        (_NUMBER, -math.inf, ("-.inf", "-.Inf", "-.INF")),
    )
    for word in words
}
_INTEGERS = tuple(
    (re.compile(pattern), base)
    for pattern, base in (
        (r"([-+]?)0[bB]([01]+)", 2),
        (r"()0b([-+][01]+)", 2),
        (r"([-+]?)0[oO]?([0-7]+)", 8),
        (r"([-+]?)0[xX]([0-9a-fA-F]+)", 16),
        (r"([-+]?)(0|[1-9][0-9]{0,19})", 10),
    )
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LOOSE = re.compile(r"(?<![0-9])_|_(?![0-9])")
"""An underscore that is not between digits."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_LARGE = 1e21
"""From here on Go writes a whole number with an exponent."""


def scalar(text: str) -> Scalar:
    """What a text is read as where it stands without quotes; a date is text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-0123456789" or (text[0] == "." and not _LOOSE.search(text)):
        plain = text.replace("_", "")
        whole = _integer(plain)
        if whole is not None:
            return Scalar(_WHOLE, whole)
        if _FLOAT.fullmatch(plain) and math.isfinite(number := float(plain)):
            return Scalar(_NUMBER, int(number) if number.is_integer() and abs(number) < _LARGE else number)
    return Scalar(_TEXT, text)


def _integer(plain: str) -> int | None:
    """The number that a text is; None where it is none, or more than 64 bits have."""
    for pattern, base in _INTEGERS:
        if found := pattern.fullmatch(plain):
            number = int(found[1] + found[2], base)
            most = 1 << (63 if plain[0] in "+-" else 64)
            return number if -(1 << 63) <= number < most else None
    return None


class Loader(yaml.SafeLoader):
    """Reads YAML as Go does."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node that has none."""
        if kind is yaml.ScalarNode and implicit[0] and value != _MERGE:
            return scalar(value).tag
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # its stubs have no types


def _constructed(_: Loader, node: yaml.ScalarNode) -> str | int | float | None:
    """A node's value, held against the tag that it may have been given."""
    tag, value = scalar(node.value)
    if tag != node.tag and (tag, node.tag) != (_WHOLE, _NUMBER):
        kind = node.tag.removeprefix(_PREFIX)
        raise yaml.constructor.ConstructorError(
            None, None, f"{node.value!r:.80} has the tag !!{kind}, and is none", node.start_mark
        )
    return value


for _tag in (_NULL, _TRUTH, _WHOLE, _NUMBER):
    Loader.add_constructor(_tag, _constructed)


class Dumper(yaml.SafeDumper):
    """Writes YAML that Go and PyYAML read as the same: what either takes for no text is quoted."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node if it stood without quotes."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # its stubs have no types
        if kind is yaml.ScalarNode and implicit[0] and tag == _TEXT:
            return _TIME if _DATE.fullmatch(value) else scalar(value).tag
        return tag

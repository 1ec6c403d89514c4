"""Tables for a terminal."""

from __future__ import annotations

import pytest

from edgesmith.cli.table import table


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    assert table(["A", "LONGER"], [["wide", ""], ["x", "µ → 1"]], "  ") == "  A      LONGER\n  wide   -\n  x      µ → 1"


@pytest.mark.parametrize("sign", ["\n", "\r", "\t", "\x1b", "\x00", "\x9b", "\u2028", "\u202e", "\ud800"])
def test_what_a_pod_says_is_no_other_row_and_steers_no_terminal(sign: str) -> None:
    assert table(["A", "B"], [[f"one{sign}two", f"{sign}"]]) == "A         B\none two   -"

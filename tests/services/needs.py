"""What a test needs of this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRE_ALL = "EDGESMITH_REQUIRE_ALL"
"""`make test` sets it to 1: a test that cannot run is a failure there, and skipped everywhere else."""


def lacking(sentence: str) -> NoReturn:
    """Skip the test that asks, or fail it where nothing may be left out. `sentence` says what is missing."""
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)

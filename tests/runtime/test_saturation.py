"""The same bytes answer the same numbers on every processor."""

from __future__ import annotations

import subprocess
import sys

import pytest
from needs import emulator

from edgesmith_runtime.engine.onnxruntime import session_options
from edgesmith_runtime.engine.saturation import products_saturate

ENTRY = "session.x64quantprecision"


def test_weights_are_made_unsigned_where_products_saturate_and_nowhere_else() -> None:
    """Where they do not, it would take twice the time."""
    options = session_options(1)
    if products_saturate():
        assert options.get_session_config_entry(ENTRY) == "1"
    else:
        with pytest.raises(RuntimeError, match=ENTRY):
            options.get_session_config_entry(ENTRY)


@pytest.mark.long
@pytest.mark.parametrize(("processor", "saturates"), [("Haswell-v1", "True"), ("Nehalem-v1", "False")])
def test_an_emulated_processor_is_asked_and_not_its_host(processor: str, saturates: str) -> None:
    """A Haswell has AVX2 and no VNNI; a Nehalem multiplies in 32 bits."""
    line = "from edgesmith_runtime.engine.saturation import products_saturate; print(products_saturate())"
    done = subprocess.run(
        [emulator("x86_64"), "-cpu", processor, sys.executable, "-c", line],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == saturates

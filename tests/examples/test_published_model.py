"""A model that others trained and published reads the digits of the example."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from published import digits, mnist


def test_published_mnist_model_reads_the_scans() -> None:
    session = onnxruntime.InferenceSession(str(mnist()), providers=["CPUExecutionProvider"])
    images, labels = digits()
    name = session.get_inputs()[0].name
    answers = [session.run(None, {name: image[None]})[0].argmax() for image in images]
    assert float((np.array(answers) == labels).mean()) == pytest.approx(0.899, abs=0.002)

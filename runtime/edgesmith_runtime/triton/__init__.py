"""NVIDIA's Triton Inference Server in the place of our own: the same bundle, the same self-test, another server."""

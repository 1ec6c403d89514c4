"""Tensors as they travel, and the requests that carry them."""

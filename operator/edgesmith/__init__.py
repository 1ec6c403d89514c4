"""Puts the right build of a model on every edge node, and proves it there."""

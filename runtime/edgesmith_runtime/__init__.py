"""Serves one model bundle on an edge node."""

"""Drift: whether what a server is asked is still what its model was made with. NumPy only, and no input is kept."""

"""Builds one variant: a model compiled for one class of hardware, gated, and packed as an OCI image."""

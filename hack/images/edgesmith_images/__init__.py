"""Builds, measures, unpacks and pushes the project's container images with the standard library and Debian's tools."""

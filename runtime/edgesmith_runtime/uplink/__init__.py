"""Sends what waits in a spool to a bucket: a process of its own, so that no answer ever waits for the link.

It needs Python's standard library alone: one request of S3 is all it makes (decision 41).
"""

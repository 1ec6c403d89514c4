"""Images and what hangs on them in one file, for registries that no line leads to: an OCI image layout as a tar.

Written from registries, read without trusting it, and brought into another registry or a folder of K3s. Nothing here
knows Kubernetes.
"""

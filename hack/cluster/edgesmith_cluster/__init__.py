"""A real Kubernetes with several nodes on one Linux machine, without Docker.

Every node is a set of namespaces (network, process, mount, hostname) that a small first process holds open. What runs
in it is real: containerd, kubelet, kube-proxy. When that first process is killed the kernel ends everything inside and
drops every mount, which is what makes a cluster that was itself killed at any moment easy to clean up.
"""

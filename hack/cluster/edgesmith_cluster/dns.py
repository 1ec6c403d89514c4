"""CoreDNS: the objects it needs, on the hub, for names of the cluster and no others."""

from typing import Any

from edgesmith_cluster.api import Api
from edgesmith_cluster.images import COREDNS
from edgesmith_cluster.plan import Plan

_NAMESPACE = "kube-system"
_LABELS = {"k8s-app": "kube-dns"}
DEPLOYMENT = f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments/coredns"

# A name that is not the cluster's is answered with "there is no such name" at once; a forwarder would only time out.
COREFILE = """\
cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5
    loadbalance
    reload
}
.:53 {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""


def objects(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """Return the objects in order, each with the path to create it under."""
    metadata = {"name": "coredns", "namespace": _NAMESPACE, "labels": _LABELS}
    core, rbac = f"/api/v1/namespaces/{_NAMESPACE}", "/apis/rbac.authorization.k8s.io/v1"
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    subject = {"kind": "ServiceAccount", "name": "coredns", "namespace": _NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"}
    service = {
        "clusterIP": str(plan.dns_service),
        "selector": _LABELS,
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
    }
    return [
        (f"{core}/serviceaccounts", {"metadata": metadata}),
        (f"{rbac}/clusterroles", {"metadata": {"name": "system:coredns"}, "rules": rules}),
        (
            f"{rbac}/clusterrolebindings",
            {"metadata": {"name": "system:coredns"}, "roleRef": role, "subjects": [subject]},
        ),
        (f"{core}/configmaps", {"metadata": metadata, "data": {"Corefile": COREFILE}}),
        (f"{core}/services", {"metadata": {**metadata, "name": "kube-dns"}, "spec": service}),
        (
            DEPLOYMENT.rpartition("/")[0],
            {
                "metadata": metadata,
                "spec": {
                    "selector": {"matchLabels": _LABELS},
                    "template": {"metadata": {"labels": _LABELS}, "spec": _pod()},
                },
            },
        ),
    ]


def _pod() -> dict[str, Any]:
    container = {
        "name": "coredns",
        "image": COREDNS,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 5},
        "resources": {"requests": {"cpu": "50m", "memory": "50Mi"}, "limits": {"memory": "170Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"edgesmith.dev/hub": "true"},
        "dnsPolicy": "Default",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }


def install(api: Api, plan: Plan) -> None:
    """Create the objects.

    Raises:
        ClusterError: the API server refuses one.
    """
    for path, content in objects(plan):
        api.create(path, content)


def available(api: Api) -> bool:
    """Tell whether CoreDNS answers."""
    deployment = api.get(DEPLOYMENT)
    return bool(deployment and deployment.get("status", {}).get("availableReplicas"))

"""A real Prometheus that scrapes what the chart's ServiceMonitors say, as the Prometheus Operator would have it do."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml
from services import Server, tool

from edgesmith_stage.errors import StageError

Object = dict[str, Any]

EVERY = "1s"
"""How often it scrapes: a test waits for the second look, which a rate needs."""


class Prometheus:
    """The program, with one job for each endpoint of each ServiceMonitor."""

    def __init__(self, folder: Path, kubeconfig: Path, monitors: list[Object], rules: Path) -> None:
        """Start it.

        Args:
            folder: Where it may write.
            kubeconfig: Of the cluster that it finds its targets in.
            monitors: ServiceMonitors, as they are in the cluster.
            rules: A file of rules.
        """
        jobs = [_job(one, number, kubeconfig) for one in monitors for number, _ in enumerate(one["spec"]["endpoints"])]
        settings = {
            "global": {"scrape_interval": EVERY, "evaluation_interval": EVERY},
            "rule_files": [str(rules)],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        command = [str(tool("prometheus")), f"--config.file={folder / 'prometheus.yaml'}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", "--web.listen-address=127.0.0.1:0"]
        self._server = Server(command, r'msg="Listening on" .*address=(127\.0\.0\.1:[1-9]\d*)', {})

    def ask(self, query: str) -> list[Object]:
        """The series that a query is answered with now.

        Raises:
            urllib.error.HTTPError: Prometheus does not take the query.
        """
        answered: list[Object] = self._get("query", query=query)["result"]
        return answered

    def alerts(self) -> set[str]:
        """The names of alerts that fire or are about to."""
        return {alert["labels"]["alertname"] for alert in self._get("alerts")["alerts"]}

    def targets(self) -> dict[str, list[str]]:
        """What is scraped, by job: how each target does."""
        found: dict[str, list[str]] = {}
        for target in self._get("targets")["activeTargets"]:
            found.setdefault(target["labels"]["job"], []).append(target["health"])
        return found

    def rules_that_fail(self) -> dict[str, str]:
        """What is said of each rule that cannot be evaluated."""
        groups = self._get("rules")["groups"]
        return {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")}

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def _get(self, what: str, **asked: str) -> Any:
        url = f"http://{self._server.address}/api/v1/{what}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError as error:
            raise StageError(str(error)) from error


def _job(monitor: Object, number: int, kubeconfig: Path) -> Object:
    """The scrape job that the Prometheus Operator makes of an endpoint, as far as ours say anything.

    https://github.com/prometheus-operator/prometheus-operator/blob/main/pkg/prometheus/promcfg.go
    """
    spec, about = monitor["spec"], monitor["metadata"]
    endpoint = spec["endpoints"][number]
    anywhere = spec.get("namespaceSelector", {})
    names = [] if anywhere.get("any") else anywhere.get("matchNames", [about["namespace"]])
    discovery: Object = {"role": "endpointslice", "kubeconfig_file": str(kubeconfig)}
    if names:
        discovery["namespaces"] = {"names": names}
    relabelings = [*_selected(spec["selector"]), _keep("__meta_kubernetes_endpointslice_port_name", endpoint["port"])]
    relabelings += [
        _copied(f"__meta_kubernetes_{label}", target)
        for label, target in (("namespace", "namespace"), ("service_name", "service"), ("pod_name", "pod"))
    ]
    relabelings += [
        {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in one.items()}
        for one in endpoint.get("relabelings", [])
    ]
    return {
        "job_name": f"{about['name']}/{number}",
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint["path"],
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": relabelings,
    }


def _selected(selector: Object) -> list[Object]:
    """The rules that keep what a label selector selects."""
    rules = [
        _keep(f"__meta_kubernetes_service_label_{_name(key)}", value) for key, value in selector["matchLabels"].items()
    ]
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "Exists", one
        rules.append(_keep(f"__meta_kubernetes_service_labelpresent_{_name(one['key'])}", "true"))
    return rules


def _keep(label: str, value: str) -> Object:
    return {"action": "keep", "source_labels": [label], "regex": re.escape(value)}


def _copied(label: str, target: str) -> Object:
    return {"source_labels": [label], "target_label": target}


def _name(key: str) -> str:
    """A label's key as Prometheus writes it."""
    return re.sub(r"\W", "_", key)

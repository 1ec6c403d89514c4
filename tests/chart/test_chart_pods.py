"""The chart's pods: restricted, bounded, and started anew when their settings change."""

from __future__ import annotations

from pathlib import Path

from authority import Authority
from chart_rendering import DIGEST, REQUIRED, Object, merge, pick, render, template
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgesmith.cluster.configuration import CONFIG_MAP_NAME, VARIABLES, settings_from
from edgesmith.controller.options import VARIABLES as OPTIONS
from edgesmith.controller.options import options_from

PUBLIC_KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


def pod_specs(objects: list[Object]) -> list[Object]:
    """The PodSpecs of everything that makes pods."""
    return [o["spec"]["template"]["spec"] for o in objects if o["kind"] in {"Deployment", "Job"}]


def operator(values: Object | None = None) -> Object:
    """The operator's Deployment."""
    return pick(render(values), "Deployment", "edgesmith")


def environment(deployment: Object) -> dict[str, Object]:
    """The container's own variables by name."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry for entry in container["env"]}


def test_every_pod_keeps_the_restricted_standard_and_writes_nowhere() -> None:
    specs = pod_specs(render({"registry": {"pullSecret": "pull", "pushSecret": "push"}}))
    assert len(specs) == 2
    for spec in specs:
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == 65532
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all(set(volume) & {"emptyDir", "secret", "configMap"} for volume in spec["volumes"])
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert "memory" in container["resources"]["requests"]


def test_there_is_one_operator_and_never_two_at_once() -> None:
    spec = operator()["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_selector_matches_the_pod_and_not_the_crd_job() -> None:
    objects = render()
    deployment = pick(objects, "Deployment", "edgesmith")["spec"]
    wanted = deployment["selector"]["matchLabels"].items()
    assert wanted <= deployment["template"]["metadata"]["labels"].items()
    assert not wanted <= pick(objects, "Job", "edgesmith-crds")["spec"]["template"]["metadata"]["labels"].items()


def test_probes_ask_the_port_that_the_operator_is_told() -> None:
    deployment = operator()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "probes"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "probes"}
    (port,) = container["ports"]
    assert port == {"name": "probes", "containerPort": 8080}
    assert environment(deployment)["EDGESMITH_PROBE_PORT"]["value"] == "8080"


def test_the_pod_is_told_where_it_is() -> None:
    found = environment(operator())
    assert found["EDGESMITH_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"
    assert found["EDGESMITH_POD_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_the_pod_sets_every_option_and_none_that_the_operator_does_not_know() -> None:
    values: Object = {
        "registry": {"pullSecret": "pull"},
        "operator": {"logLevel": "debug"},
    }
    found = environment(operator(values))
    assert set(found) == set(OPTIONS)
    options = options_from([], {name: entry.get("value", "here") for name, entry in found.items()})
    assert (options.probe_port, options.log_level, options.holder) == (8080, "debug", "here")


def test_the_operator_reads_its_settings_as_the_values_say(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    values: Object = {
        "image": {
            "builders": {"qnn": f"registry.example:5000/edgesmith/builder-qnn:1@{DIGEST}"},
            "runtime": {"litert": f"registry.example:5000/edgesmith/runtime-litert:1@{DIGEST}"},
        },
        "registry": {"plainHTTP": True, "pullSecret": "pull", "pushSecret": "push", "caBundle": authority.pem},
        "bucket": {"endpoint": "http://minio.example:9000", "caBundle": authority.pem},
        "nodeGracePeriodSeconds": 40,
        "builder": {
            "serviceAccount": "builders",
            "nodeSelector": {"edgesmith.dev/hub": "true"},
            "deadlineSeconds": 1200,
            "maxConcurrent": 7,
        },
        "revisionHistoryLimit": 5,
        "watchNamespaces": ["plant-7"],
        "signing": {"keySecret": "signing", "publicKey": PUBLIC_KEY, "policy": "Require"},
    }
    data = pick(render(values), "ConfigMap", CONFIG_MAP_NAME)["data"]
    assert set(data) == set(VARIABLES), "every setting is set, and none that the operator does not know"
    settings = settings_from(data)
    base = "registry.example:5000/edgesmith/runtime"
    assert settings.runtime_images == {"onnxruntime": f"{base}@{DIGEST}", "litert": f"{base}-litert@{DIGEST}"}
    assert settings.builder_image == f"registry.example:5000/edgesmith/builder@{DIGEST}"
    assert settings.builder_images == {"qnn": f"registry.example:5000/edgesmith/builder-qnn@{DIGEST}"}
    assert settings.repository == "registry.example:5000/models"
    assert settings.plain_http
    assert (settings.pull_secret, settings.push_secret) == ("pull", "push")
    assert settings.bucket_endpoint == "http://minio.example:9000"
    assert settings.registry_ca == settings.bucket_ca == authority.pem.strip()
    assert settings.builder_service_account == "builders"
    assert settings.builder_node_selector == {"edgesmith.dev/hub": "true"}
    assert settings.builder_resources == {
        "requests": {"cpu": "500m", "memory": "512Mi"},
        "limits": {"memory": "2Gi"},
    }
    assert (settings.signing_secret, settings.signed_by) == ("signing", PUBLIC_KEY.strip())
    assert settings.builder_deadline_seconds == 1200
    assert settings.node_grace_seconds == 40
    assert settings.max_concurrent_builds == 7
    assert settings.revision_history_limit == 5
    assert settings.namespaces == ("edgesmith-system", "plant-7")
    assert options_from([], data).namespaces == ("edgesmith-system", "plant-7")


def test_what_is_not_set_is_left_out() -> None:
    data = pick(render(), "ConfigMap", CONFIG_MAP_NAME)["data"]
    assert set(VARIABLES) - set(data) == {
        "EDGESMITH_PULL_SECRET",
        "EDGESMITH_PUSH_SECRET",
        "EDGESMITH_REGISTRY_CA",
        "EDGESMITH_SIGNING_SECRET",
        "EDGESMITH_SIGNING_PUBLIC_KEY",
        "EDGESMITH_BUCKET_ENDPOINT",
        "EDGESMITH_BUCKET_CA",
        "EDGESMITH_BUILDER_SERVICE_ACCOUNT",
        "EDGESMITH_NAMESPACES",
    }
    assert (settings_from(data).pull_secret, settings_from(data).push_secret) == (None, None)


def test_signatures_are_asked_for_with_a_key_only() -> None:
    done = template(merge(REQUIRED, {"signing": {"policy": "Require"}}))
    assert done.returncode != 0
    assert "signing.publicKey is empty: expected" in done.stderr


def test_changed_settings_start_a_new_pod_and_other_values_do_not() -> None:
    def checksum(values: Object) -> str:
        found: str = operator(values)["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
        return found

    before = checksum({})
    assert checksum({"bucket": {"endpoint": "http://minio.example:9000"}}) != before
    assert checksum({"profiles": {"install": ["raspberry-pi-5"]}}) == before


def test_registry_credentials_are_a_mounted_file() -> None:
    deployment = operator({"registry": {"pullSecret": "pull", "pushSecret": "push"}})
    spec = deployment["spec"]["template"]["spec"]
    path = environment(deployment)["EDGESMITH_REGISTRY_CREDENTIALS"]["value"]
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "registry"]
    (volume,) = [v for v in spec["volumes"] if v["name"] == "registry"]
    assert path == f"{mount['mountPath']}/.dockerconfigjson"
    assert mount["readOnly"] is True
    assert volume["secret"]["secretName"] == "pull", "the operator has nothing to push"
    assert "EDGESMITH_REGISTRY_CREDENTIALS" not in environment(operator())


def test_placement_reaches_the_pod() -> None:
    placement: Object = {
        "nodeSelector": {"edgesmith.dev/hub": "true"},
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
    }
    spec = operator({"operator": placement, "image": {"pullSecrets": ["pull"]}})["spec"]["template"]["spec"]
    assert {key: spec[key] for key in placement} == placement
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


def test_a_digest_wins_over_a_tag() -> None:
    tagged = {"image": {"operator": f"registry.example:5000/edgesmith/operator:0.1.0@{DIGEST}"}}
    (container,) = operator(tagged)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example:5000/edgesmith/operator@{DIGEST}"
    by_tag = {"image": {"operator": "registry.example:5000/edgesmith/operator:0.1.0"}}
    (container,) = operator(by_tag)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example:5000/edgesmith/operator:0.1.0"


def test_another_release_name_gives_other_names_but_for_the_settings() -> None:
    names = {(o["kind"], o["metadata"]["name"]) for o in render(release="plant")}
    assert ("Deployment", "plant-edgesmith") in names
    assert ("ConfigMap", CONFIG_MAP_NAME) in names

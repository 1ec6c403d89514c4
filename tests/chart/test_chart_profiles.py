"""DeviceProfiles are data; each is held against the types, the CRD and the others."""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rendering import CHART, DIGEST, REQUIRED, ROOT, Object, load, merge, pick, render, template

from edgesmith.api.deviceprofile import DeviceProfile, DeviceProfileSpec
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import API_VERSION
from edgesmith.decide.refusals import refusal
from edgesmith.decide.settings import Settings
from edgesmith.decide.toolchain import toolchain_of

FILES = sorted((CHART / "profiles").glob("*.yaml"))
CRDS = sorted((ROOT / "crds").glob("*.yaml"))
DEVICE = "edgesmith.dev/device"
SCHEMA = load(CHART / "values.schema.json")

profile_files = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def check(schema: Object, value: Any, path: str) -> list[str]:
    """What a structural schema has against a value. Knows the words that our CRDs use for plain fields."""
    types: dict[str, tuple[type, ...]] = {
        "object": (dict,),
        "array": (list,),
        "string": (str,),
        "boolean": (bool,),
        "integer": (int,),
        "number": (int, float),
    }
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        return [f"{path} is {value!r}, not a {schema['type']}"]
    wrong = []
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{path} is {value!r}, not one of {schema['enum']}")
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        wrong.append(f"{path} is {value!r}, which is not like {schema['pattern']}")
    if isinstance(value, list):
        for number, item in enumerate(value):
            wrong += check(schema["items"], item, f"{path}[{number}]")
    if isinstance(value, dict):
        wrong += [f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            part = known.get(name, others)
            wrong += check(part, item, f"{path}.{name}") if part else [f"{path}.{name} is no field"]
    return wrong


@functools.cache
def schema_of(plural: str) -> Object:
    """The schema of one kind's spec, from the generated CRD."""
    if not CRDS:
        pytest.fail("crds/ is empty; `make generate` writes it")
    (crd,) = [crd for crd in map(load, CRDS) if crd["spec"]["names"]["plural"] == plural]
    (version,) = crd["spec"]["versions"]
    spec: Object = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def test_the_catalogue_is_what_the_values_can_name() -> None:
    names = [file.stem for file in FILES]
    installed = load(CHART / "values.yaml")["profiles"]["install"]
    assert installed == [name for name in names if name in installed], "in order, and none that is not there"
    assert load(CHART / "values.schema.json")["properties"]["profiles"]["properties"]["install"]["items"] == {
        "enum": names
    }


@profile_files
def test_a_profile_is_what_the_types_say_and_says_nothing_they_do_not_know(file: Path) -> None:
    raw = load(file)
    assert (raw["apiVersion"], raw["kind"], raw["metadata"]["name"]) == (API_VERSION, "DeviceProfile", file.stem)
    profile = DeviceProfile.model_validate(raw)
    kept = profile.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert kept == raw["spec"], "a field that the types do not know would be dropped in silence"


@profile_files
def test_a_profile_is_what_the_crd_says(file: Path) -> None:
    assert check(schema_of("deviceprofiles"), load(file)["spec"], "spec") == []


def test_the_check_against_the_crd_notices_what_is_wrong() -> None:
    spec = load(CHART / "profiles/generic-amd64.yaml")["spec"]
    spec["platform"]["architecture"] = "riscv"
    spec["toolchain"]["ladder"] = []
    del spec["nodeSelector"]
    assert len(check(schema_of("deviceprofiles"), spec, "spec")) == 3


@profile_files
def test_a_label_on_the_wrong_architecture_matches_nothing(file: Path) -> None:
    spec = DeviceProfileSpec.model_validate(load(file)["spec"])
    assert spec.node_selector == {DEVICE: file.stem, "kubernetes.io/arch": spec.platform.architecture}


def test_no_node_can_be_of_two_profiles() -> None:
    selectors = {file.stem: load(file)["spec"]["nodeSelector"] for file in FILES}
    for (one, mine), (other, theirs) in itertools.combinations(selectors.items(), 2):
        assert any(theirs.get(key, value) != value for key, value in mine.items()), f"{one} and {other} overlap"


def settings(*flavours: str) -> Settings:
    images = {flavour: f"r/{flavour}@sha256:0" for flavour in flavours}
    return Settings(images, "r/builder@sha256:0", "r/models", builder_images=images)


EDGE_MODEL = EdgeModel.model_validate(
    {
        "metadata": {"name": "parts"},
        "spec": {
            "source": {"uri": "s3://models/parts.onnx", "sha256": "0" * 64},
            "compiled": [{"toolchain": "EdgeTPU", "uri": "s3://models/parts_edgetpu.tflite", "sha256": "0" * 64}],
            "deviceProfiles": {"selector": {}},
        },
    }
)


@profile_files
def test_a_profile_can_be_used_where_every_image_is_there(file: Path) -> None:
    profile = DeviceProfile.model_validate(load(file))
    assert refusal(EDGE_MODEL, profile, settings("onnxruntime", "openvino", "litert", "qnn", "triton")) is None


def test_what_is_installed_by_default_works_with_the_image_that_is_required() -> None:
    for name in load(CHART / "values.yaml")["profiles"]["install"]:
        profile = DeviceProfile.model_validate(load(CHART / f"profiles/{name}.yaml"))
        assert refusal(EDGE_MODEL, profile, settings("onnxruntime")) is None


@profile_files
def test_a_profile_says_what_is_known_of_it_and_where_from(file: Path) -> None:
    metadata, text = load(file)["metadata"], file.read_text()
    assert metadata["annotations"]["edgesmith.dev/evidence"] in {"ran", "emulated", "simulated", "written"}
    assert metadata["annotations"]["edgesmith.dev/evidence"] != "written" or re.search(
        "^# Sources: ", text, re.MULTILINE
    )


ON_PROCESSORS = [file for file in FILES if load(file)["spec"]["toolchain"]["name"] == "ONNXRuntime"]


@pytest.mark.parametrize("file", ON_PROCESSORS, ids=lambda file: file.stem)
def test_number_types_are_the_fast_ones_of_the_architecture(file: Path) -> None:
    spec = DeviceProfileSpec.model_validate(load(file)["spec"])
    types = {"amd64": ("uint8", "int8"), "arm64": ("int8", "int8")}
    told = toolchain_of(DeviceProfile.model_validate(load(file))).settings
    assert (told["activations"], told["weights"]) == types[spec.platform.architecture]
    assert "fp32" in (spec.toolchain.precisions or ()), (
        "without fp32 a model that loses too much in int8 has no build at all"
    )


def test_chosen_profiles_are_installed_as_they_stand_in_their_files() -> None:
    objects = render({"profiles": {"install": ["raspberry-pi-5", "generic-amd64"]}})
    found = [o["metadata"]["name"] for o in objects if o["kind"] == "DeviceProfile"]
    assert sorted(found) == ["generic-amd64", "raspberry-pi-5"]
    for name in found:
        rendered = pick(objects, "DeviceProfile", name)
        assert rendered["spec"] == load(CHART / f"profiles/{name}.yaml")["spec"]
        assert rendered["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_profiles_can_ask_for_a_label_that_no_kubelet_may_set() -> None:
    label = "edgesmith.dev.node-restriction.kubernetes.io/device"
    objects = render({"profiles": {"nodeLabel": label, "install": [file.stem for file in FILES]}})
    for file in FILES:
        spec = pick(objects, "DeviceProfile", file.stem)["spec"]
        before = load(file)["spec"]
        assert spec["nodeSelector"] == {label: file.stem, "kubernetes.io/arch": before["platform"]["architecture"]}
        assert spec | {"nodeSelector": {}} == before | {"nodeSelector": {}}


SITE_KNOWS: dict[str, Object] = {
    "jetson-orin-nano": {
        "hardware": {"memory": "4Gi"},
        "runtime": {
            "resources": {"limits": {"memory": "2Gi"}},
            "volumes": [{"name": "engines", "hostPath": "/var/lib/engines", "mountPath": "/var/cache/edgesmith"}],
        },
    },
    "coral-usb": {"toolchain": {"options": {"minRuntimeVersion": "13"}}},
    "raspberry-pi-5": {"allowedNamespaces": ["plant-7"], "toolchain": {"precisions": ["fp32"]}},
}


def test_what_a_site_says_is_laid_over_the_file_and_the_rest_stays() -> None:
    installed = [*SITE_KNOWS, "generic-amd64"]
    objects = render({"profiles": {"install": installed, "overrides": SITE_KNOWS, "nodeLabel": "plant.example/class"}})
    for name in installed:
        file = (CHART / f"profiles/{name}.yaml").read_text().replace(f"{DEVICE}:", "plant.example/class:")
        spec = pick(objects, "DeviceProfile", name)["spec"]
        assert spec == merge(yaml.safe_load(file)["spec"], SITE_KNOWS.get(name, {}))
        assert check(schema_of("deviceprofiles"), spec, "spec") == []


def test_a_profile_that_is_not_installed_has_no_overrides() -> None:
    values = {"profiles": {"install": ["generic-amd64"], "overrides": SITE_KNOWS}}
    done = template(merge(REQUIRED, values))
    assert done.returncode != 0
    assert (
        "profiles.overrides has coral-usb, which is not installed: expected a profile of profiles.install"
        in done.stderr
    )


def test_the_generic_plugin_runs_where_an_override_asks_for_its_devices() -> None:
    mine = {"raspberry-pi-5": {"runtime": {"resources": {"limits": {"squat.ai/hailo": 1}}}}}
    plugin = {"generic": {"enabled": True, "image": "registry.example/plugin:1"}}
    values = {"profiles": {"install": ["raspberry-pi-4", "raspberry-pi-5"], "overrides": mine}, "devicePlugins": plugin}
    (daemon,) = [one for one in render(values) if one["kind"] == "DaemonSet"]
    affinity = daemon["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["raspberry-pi-5"]


def overridable(schema: Object, crd: Object, path: str) -> list[str]:
    """What the values' schema takes in an override and the CRD does not, or otherwise than it."""
    schema = schema if "$ref" not in schema else SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    known, wrong = crd.get("properties", {}), []
    for name, part in schema.get("properties", {}).items():
        wrong += overridable(part, known[name], f"{path}.{name}") if name in known else [f"{path}.{name} is no field"]
    if "items" in schema:
        wrong += overridable(schema["items"], crd["items"], f"{path}[]")
    same = ("pattern", "enum", "maxLength", "minItems", "maxItems")
    wrong += [f"{path}: {word} differs" for word in same if word in crd and crd[word] != schema.get(word)]
    return wrong


def test_what_can_be_overridden_is_what_the_crd_says_of_it() -> None:
    found = overridable({"$ref": "#/$defs/profileOverride"}, schema_of("deviceprofiles"), "spec")
    assert found == []


EXAMPLES = [
    pytest.param(yaml.safe_load(block.replace("sha256:…", DIGEST)), id=f"{page} {number}")
    for page in ("devices", "helm")
    for number, block in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", (ROOT / f"docs/{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    )
    if "overrides:" in block
]


@pytest.mark.parametrize("values", EXAMPLES)
def test_examples_of_the_documentation_make_profiles_that_can_be_used(values: Object) -> None:
    objects = render(values)
    for name, said in values["profiles"]["overrides"].items():
        document = pick(objects, "DeviceProfile", name)
        assert document["spec"] == merge(load(CHART / f"profiles/{name}.yaml")["spec"], said)
        assert check(schema_of("deviceprofiles"), document["spec"], "spec") == []
        profile = DeviceProfile.model_validate(document)
        assert refusal(EDGE_MODEL, profile, settings("onnxruntime", "openvino", "litert", "qnn", "triton")) is None


def test_the_documentation_has_an_example_for_each_kind_of_accelerator() -> None:
    named = {name for example in EXAMPLES for name in example.values[0]["profiles"]["overrides"]}  # type: ignore[index]  # pytest takes any object
    assert named >= {"jetson-orin-nano", "intel-gpu", "coral-usb", "qualcomm-rb3-gen2"}


@profile_files
def test_no_profile_has_folders_of_the_node_which_restricted_namespaces_refuse(file: Path) -> None:
    assert "volumes" not in load(file)["spec"]["runtime"]


def test_kind_labels_its_nodes_as_the_profiles_and_the_demo_ask() -> None:
    config = load(ROOT / "kind-config.yaml")
    hub, *edges = config["nodes"]
    assert (hub["role"], hub["labels"]) == ("control-plane", {"edgesmith.dev/hub": "true"})
    assert yaml.safe_load(hub["kubeadmConfigPatches"][0])["nodeRegistration"]["taints"] == []
    assert [(edge["role"], edge["labels"]["edgesmith.dev/edge"], edge["labels"][DEVICE]) for edge in edges] == [
        ("worker", "edge-1", "generic-amd64"),
        ("worker", "edge-2", "generic-amd64"),
        ("worker", "edge-3", "panel-pc"),
    ]

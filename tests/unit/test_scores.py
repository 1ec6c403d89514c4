"""What the status says of how well a score is known, in the unit of the score."""

from __future__ import annotations

from dataclasses import replace

import pytest
from snapshots import NOW, REPORT, image, key_of, model, snapshot

from edgesmith.decide import decide
from edgesmith.decide.scores import scores
from edgesmith.decide.snapshot import RegistryProblem
from edgesmith.decide.trial_records import finalists_of
from edgesmith_builder.contract import Candidate, MetricName

ERRORS = {"accuracy_error": 0.01234, "agreement_error": 0.0171}
CANDIDATE = REPORT.candidates[0].model_copy(update=ERRORS)
KNOWN = REPORT.model_copy(update={**ERRORS, "candidates": (CANDIDATE,)})


@pytest.mark.parametrize(("metric", "error"), [("Accuracy", "1.23%"), ("MacroF1", "1.23%"), ("RMSE", "0.0123")])
def test_an_error_has_the_unit_of_what_it_is_of(metric: MetricName, error: str) -> None:
    found = scores(CANDIDATE, metric)
    assert (found["accuracy_error"], found["agreement_error"]) == (error, "1.71%")


def test_what_is_not_known_is_not_said() -> None:
    assert scores(Candidate(precision="int8", agreement=0.9), "RMSE") == {"agreement": "90.00%"}


def test_a_trial_says_of_each_finalist_how_well_it_is_known() -> None:
    (one,) = finalists_of(KNOWN, "r@sha256:1", "Accuracy")
    assert (one.accuracy, one.accuracy_error, one.agreement_error) == ("98.00%", "1.23%", "1.71%")


def test_a_variant_says_how_well_it_is_known_and_goes_on_while_the_registry_does_not_answer() -> None:
    of = model()
    shown = snapshot(of, images={key_of(of): replace(image(of), report=KNOWN)})
    first = decide(shown, NOW).status
    of = of.model_copy(update={"status": first.model_dump(by_alias=True, exclude_none=True, mode="json")})
    silent = snapshot(of, images={key_of(of): RegistryProblem("it does not answer", forbidden=False)})
    for status in (first, decide(silent, NOW).status):
        (variant,) = status.variants
        assert (variant.accuracy_error, variant.accuracy_drop_error) == ("1.23%", "0.85%")
        assert (variant.agreement, variant.agreement_error) == ("97.75%", "1.71%")


def test_gates_that_samples_cannot_tell_are_warnings_of_the_variant_and_of_what_is_refused() -> None:
    of = model(gates={"minAccuracy": "97%"})
    shown = {key_of(of): replace(image(of), report=KNOWN)}
    (variant,) = decide(snapshot(of, images=shown), NOW).status.variants
    assert variant.warnings[0] == (
        "accuracy is 0.9800 ± 0.0123 over 400 samples, which cannot tell whether it is at least 0.9700, as is asked by "
        "spec.gates.minAccuracy"
    )
    of = model(gates={"minAccuracy": "99%"})
    (variant,) = decide(snapshot(of, images=shown), NOW).status.variants
    (refused,) = variant.refused
    assert (refused.accuracy, refused.accuracy_error, refused.agreement_error) == ("98.00%", "1.23%", "1.71%")
    assert refused.message.endswith("over 400 samples it is known to 0.0123 either way only")

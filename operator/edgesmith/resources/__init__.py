"""What the operator makes in the cluster: one pure module per kind of child, each returning what to apply."""

from edgesmith.decide.serving import revision_of
from edgesmith.resources.build_job import build_job
from edgesmith.resources.daemon_set import daemon_set
from edgesmith.resources.holding import holding_daemon_set
from edgesmith.resources.names import repository
from edgesmith.resources.reporting import reporting_daemon_set
from edgesmith.resources.resolve_job import resolve_job
from edgesmith.resources.retraining import retraining_job
from edgesmith.resources.service import service
from edgesmith.resources.staging import staging_daemon_set
from edgesmith.resources.trial_pod import trial_pod

__all__ = [
    "build_job",
    "daemon_set",
    "holding_daemon_set",
    "reporting_daemon_set",
    "repository",
    "resolve_job",
    "retraining_job",
    "revision_of",
    "service",
    "staging_daemon_set",
    "trial_pod",
]

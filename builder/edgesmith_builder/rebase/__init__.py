"""A build over another base image, made of the layers of the one before: nothing is fetched and nothing compiled."""

from edgesmith_builder.rebase.over import rebased
from edgesmith_builder.rebase.trusted import bundle_tag

__all__ = ["bundle_tag", "rebased"]

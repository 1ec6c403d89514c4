"""Files on web servers, over TLS."""

from edgesmith_builder.source.https.login import WebLogin
from edgesmith_builder.source.https.web import Web

__all__ = ["Web", "WebLogin"]

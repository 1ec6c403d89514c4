"""`edgesmith archive`: models for a site without a connection, as one file."""

"""A server judged while it serves: by how requests go, against the revision before it, and by its golden samples."""

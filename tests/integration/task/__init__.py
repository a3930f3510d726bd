"""The task service through its real server."""

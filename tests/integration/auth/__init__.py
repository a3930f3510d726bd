"""auth on a real PostgreSQL, through the real server."""

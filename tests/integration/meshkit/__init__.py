"""meshkit against real servers and a real PostgreSQL."""

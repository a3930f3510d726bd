"""meshkit by itself."""

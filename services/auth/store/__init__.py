"""SQL of auth, by what it is about."""

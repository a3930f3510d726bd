"""Integration tests of auth."""

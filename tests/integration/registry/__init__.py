"""Integration tests of registry."""

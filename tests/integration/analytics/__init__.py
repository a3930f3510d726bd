"""Integration tests of analytics."""

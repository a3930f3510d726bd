"""Integration tests of meshkit."""

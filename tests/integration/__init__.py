"""Tests on a real PostgreSQL, through real gRPC."""

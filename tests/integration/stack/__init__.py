"""Tests of the stack with a real PostgreSQL, and of its supervision with stand-in services."""

"""Integration tests of tool_catalog."""

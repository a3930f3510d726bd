"""Unit tests of tool_catalog."""

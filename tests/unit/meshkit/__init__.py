"""Unit tests of meshkit."""

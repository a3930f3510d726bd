"""Tests of the gateway in front of real servers."""

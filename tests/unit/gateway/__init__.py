"""Tests of what the gateway generates."""

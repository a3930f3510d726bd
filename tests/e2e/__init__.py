"""Tests of the whole mesh: real processes, through the gateway."""

"""Tests of the demo without a mesh."""

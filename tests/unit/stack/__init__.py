"""Tests of the stack's parts that need no processes."""

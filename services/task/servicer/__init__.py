"""The RPCs of task: decode, delegate, encode."""

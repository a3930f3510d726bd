"""The RPCs of auth: decode, delegate, encode."""

"""What callers want of auth."""

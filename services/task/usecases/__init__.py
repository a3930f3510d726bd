"""What callers and agents want of the task service."""

"""Pure parts of the task service."""

"""Pure parts of the SDK."""

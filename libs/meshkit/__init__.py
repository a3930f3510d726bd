"""The runtime that every service stands on, from settings to shutdown."""

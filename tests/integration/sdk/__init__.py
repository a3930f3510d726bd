"""The SDK on a real mesh."""

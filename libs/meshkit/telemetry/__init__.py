"""Logs, figures and traces."""

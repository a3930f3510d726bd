"""Runs the registry's migrations; see `meshkit.database.migrations`."""

from meshkit.database.migrations import run_environment

run_environment()

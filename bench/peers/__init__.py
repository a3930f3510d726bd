"""Contenders of `bench.tasks`, each run as a process of its own in its own virtual environment.

They import nothing but their own library and the two modules here that need none.
"""

"""tool_catalog: catalogues tools with their schemas and versions.

Owns the definitions of tools. Never keeps the history of their calls.
"""

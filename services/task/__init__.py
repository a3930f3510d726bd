"""task: accepts tasks, hands them to agents over streams, and brings each to one end.

Owns tasks, their attempts and their histories. Never knows how a tool is called.
"""

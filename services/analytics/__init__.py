"""analytics: keeps what the fleet did, and answers how well.

Owns the log of invocations. Is never asked on the way of a task.
"""

"""registry: knows which agents exist, what they can do, and which are alive.

Owns agents, their capabilities and their leases. Never runs work.
"""

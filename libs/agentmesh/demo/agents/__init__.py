"""The sample agents. Each is a program: `python -m agentmesh.demo.agents.facts`.

They find the mesh by `AGENTMESH_URL` and `AGENTMESH_API_KEY`, as every agent does.
"""

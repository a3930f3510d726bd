"""`agentmesh demo`: real agents, in processes of their own, doing real tasks on a real mesh."""

"""Let `python -m agentmesh.cli` be the command `agentmesh`."""

from agentmesh.cli import main

if __name__ == "__main__":
    main()

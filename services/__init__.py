"""The services of the mesh, a folder each. They speak to one another through their stubs only."""

"""What must hold of a run: pure functions over what was seen, each returning what is wrong."""

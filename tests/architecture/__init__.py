"""What no single file shows: that the parts of the house agree."""

"""Rate limits: how many calls a caller has left."""

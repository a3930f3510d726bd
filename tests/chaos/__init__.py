"""Real processes that are killed, stopped and cut off at work, and a checker of what they did."""

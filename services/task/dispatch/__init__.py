"""Who is connected to this replica, whom a task fits, and whose turn it is."""

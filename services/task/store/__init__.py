"""SQL of tasks: rows, leases, histories. Every change of a task adds to its history."""

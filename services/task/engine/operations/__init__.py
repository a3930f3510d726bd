"""What can be done to tasks: each operation says what it needs, and then changes it."""

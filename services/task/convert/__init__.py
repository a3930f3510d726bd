"""Between task's messages and its domain; pure."""

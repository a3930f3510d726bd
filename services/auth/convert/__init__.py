"""Between messages and the domain of auth."""

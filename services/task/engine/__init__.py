"""The engine: makes every change of every task, many at a time, in one transaction each."""

"""Blobs: inputs and results of tasks that are too large to be carried along.

A blob's description is a row of the task database; its data is in a store, which is
that database or an S3 bucket. Nothing in here knows tasks: the engine counts what its
tasks name, in the transactions that create and delete them.
"""

"""Blobs, in real PostgreSQL and in a server that speaks S3's protocol."""

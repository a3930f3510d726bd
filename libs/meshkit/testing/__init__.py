"""What tests stand on: real databases, real tokens, real servers."""

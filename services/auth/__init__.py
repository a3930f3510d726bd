"""auth: issues and checks credentials.

Owns API keys, roles and the keys that sign access tokens. Is never on the path of
a request whose credential another service can check by itself.
"""

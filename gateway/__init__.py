"""The gateway: Envoy, with a configuration generated from the contracts.

Owns the routes from HTTP/JSON, Server-Sent Events, gRPC and grpc-web to the five
services, the transcoding between them, the shape of edge errors, and the life of the
Envoy process.

Never holds state, never decides what a caller may do, and never names a route that the
protos do not declare.
"""

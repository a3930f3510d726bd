"""What happens around every call, in one order for all services.

From the outside in: trace (so that all below has ids), observe (sees the final
status), errors (the only place that aborts), deadline (no work without time),
authenticate, limit (what is refused below counts too), authorize, validate (no reading
of a body before the caller may call).
"""

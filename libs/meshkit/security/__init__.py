"""Who a caller is and what it may do, decided locally by each service."""

"""The tests: unit (pure), integration (real PostgreSQL), e2e (processes and Envoy)."""

"""Integration tests of events: notifications, the outbox, its reader and the relay."""

"""PostgreSQL: connections, transactions, migrations, notifications."""

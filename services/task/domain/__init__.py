"""Tasks, their states, and what may follow what; pure, without transport or database."""

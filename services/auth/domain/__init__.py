"""What auth is about; knows no transport and no database."""

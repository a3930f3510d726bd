"""auth's pure parts."""

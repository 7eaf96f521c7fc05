"""Where weights lie, whether they are whole, and how they are fetched."""

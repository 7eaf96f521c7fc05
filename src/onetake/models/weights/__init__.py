"""Where weights are, whether they are whole, and how they are fetched."""

"""Where results go, and what is remembered of them."""

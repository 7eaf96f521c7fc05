"""What is asked, what is planned, and what is answered."""

"""What a take tells of where it came from, in its file and in its picture."""

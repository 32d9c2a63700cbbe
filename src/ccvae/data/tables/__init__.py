"""Reading table files, and turning input columns into numbers."""

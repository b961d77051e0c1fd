"""Ways to test an explanation, one a file."""

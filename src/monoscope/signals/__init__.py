"""What can be read off a token: features of a dictionary and dense probes. A signal is a number per row."""

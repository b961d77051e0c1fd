"""Words for features, and the evidence for the words."""

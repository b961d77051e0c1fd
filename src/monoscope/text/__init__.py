"""Text: corpora, tokenising, packing, splits, and where every token came from."""

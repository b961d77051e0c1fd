"""Harvesting: text × model → activations, as a stream that stores nothing or as shards on disk."""

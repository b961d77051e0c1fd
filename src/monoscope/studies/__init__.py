"""Searches and measurements that use the rest together: what steering does, and what it costs."""

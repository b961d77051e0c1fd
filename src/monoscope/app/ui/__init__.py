"""The browser pages: a server bound to loopback, and static files that need no build step."""

"""What runs under another Python, by path: nothing in this folder imports Monoscope."""

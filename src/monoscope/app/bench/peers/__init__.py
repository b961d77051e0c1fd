"""What runs under another Python, which finds ``contender`` here: nothing in this folder imports Monoscope."""

"""Writing into the model: steering, ablating and conditions, at any site, in any forward pass."""

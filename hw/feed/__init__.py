"""The feed: from a layer's loops to the words that enter the array."""

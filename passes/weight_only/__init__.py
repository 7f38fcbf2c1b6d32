"""Weight-only compression: integers of 1 to 16 bits, or codebooks, for the weights; activations stay float."""

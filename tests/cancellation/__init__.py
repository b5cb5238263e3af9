"""Promise 1, swept: every awaiting operation against every way of cancelling it, at every moment."""

"""From the hub to integers."""

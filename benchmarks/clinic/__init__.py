"""The clinic: small real training tasks, runs whose truth is known, and faults to inject into them."""

"""Pure functions on arrays and streams: noise, trend, stalls, change points, and the bounded curve summary."""

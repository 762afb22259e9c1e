"""Watching a torch model around its optimizer's steps: norms, ratios, rates, dead units."""

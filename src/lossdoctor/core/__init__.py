"""The types everyone speaks. Imports no sibling package."""

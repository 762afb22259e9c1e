"""Tests of the clinic and of the quality report."""

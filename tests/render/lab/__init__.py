"""Tests of the lab's pictures, films and pages."""

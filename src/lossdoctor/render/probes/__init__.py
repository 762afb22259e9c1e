"""Results of active tests as pictures, text and pages."""

"""One thin module per framework: ``lossdoctor.integrations.transformers.LossDoctorCallback`` and its like.

Importing this package imports no framework; importing one of its modules imports that one, and says which extra is
missing where it is not installed.
"""

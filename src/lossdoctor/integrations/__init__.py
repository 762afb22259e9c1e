"""One thin module per framework: ``lossdoctor.integrations.transformers.LossDoctorCallback`` and its like."""

"""Speed, overhead and detection quality of lossdoctor. Never imported by the package."""

"""Everything that shows results: text, JSON, SARIF, JUnit, pictures, the HTML report, notebooks."""

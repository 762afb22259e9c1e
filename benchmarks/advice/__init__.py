"""Fits what lossdoctor learned of runs: which are sick, what caused it and what helps (``benchmarks.advice.fit``)."""

"""The pictures of docs/metrics.md, one function each, by what they are about."""

"""What a sealed logging call costs, beside the libraries that people log with: `python -m benchmarks`."""

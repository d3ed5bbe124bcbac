"""What tests and examples run on: tiny pipelines of random weights, and planted attention."""

"""What users and backend authors test with: a clock they move by hand, and the contract of a backend as tests."""

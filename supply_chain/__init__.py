"""What this software is made of, and what is known against it: `make audit` and `make sbom`."""

"""What the adapters to evaluation libraries share, whose tasks are YAML files of one form."""

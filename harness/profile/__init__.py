"""What a model costs before and after compression: counted from its shapes, and measured."""

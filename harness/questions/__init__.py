"""What the visual question-answering tasks share: reading, asking, scoring."""

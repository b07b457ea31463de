"""Compressed models made quicker to run; what they compute stays the same."""

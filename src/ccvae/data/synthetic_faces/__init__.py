"""Faces drawn by a program, so that the truth about each is known."""

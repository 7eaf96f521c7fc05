"""Checks of prompts and pictures, with weights that ship in packages."""

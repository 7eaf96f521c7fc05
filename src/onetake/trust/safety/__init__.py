"""Checks of prompts and pictures. Their weights ship in packages, so nothing is downloaded."""

"""Tests of the recipes and of what they make; `python3 models/make.py --test` runs them."""

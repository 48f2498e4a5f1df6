"""Recipes that make Halfpipe's models and body from registry packages; models/make.py runs them."""

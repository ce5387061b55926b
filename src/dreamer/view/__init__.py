"""A page in which a person steers inside the dream of trained world models, in any browser."""

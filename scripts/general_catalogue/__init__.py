"""How `scripts/build_general_catalogue.py` turns recorded facts into annotations."""

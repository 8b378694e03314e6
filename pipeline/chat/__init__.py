"""From conversations to token ids: rendering, safe tokenisation, truncation, DNA units."""

"""Looking inside: how runs compare, and how one output vector comes about."""

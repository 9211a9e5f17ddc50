"""What the gateway answers, as models: for the documents that describe it. Nothing is made by them, and tests hold every real answer against them."""

"""What stands before every route of the gateway: who asks, whether they may, how often, and a record of it."""

"""Reading a stock pipeline while it runs: hooks on, maps accumulated on the device, hooks off."""

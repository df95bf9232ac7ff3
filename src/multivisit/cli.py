"""The `mvm` command."""

"""The published module names; no logic lives here."""

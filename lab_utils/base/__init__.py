"""The ground floor: what every other room stands on. Nothing is exported, so that importing it costs nothing."""

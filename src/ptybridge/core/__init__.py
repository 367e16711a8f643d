"""The domain: transcripts, screens, sessions. Knows neither the contract (`api`) nor the wire."""

"""The demonstration: a broker, a camera and a story of public-domain portraits, so that nothing else is needed."""

"""The front end for AI agents: sessions as tools and resources of the Model Context Protocol."""
